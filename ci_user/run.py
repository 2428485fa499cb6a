"""What every command on one environment starts from: the environment, the way into AWS, the bucket and Terraform."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_user import tfvars
from ci_user.credentials import Accesses, Caller, Logins, resolve
from ci_user.errors import CiUserError, ToolchainError
from ci_user.files import private_directory
from ci_user.terraform_cli import Terraform, backend_settings, write_state_profile

if TYPE_CHECKING:
    from ci_user.audit import Trail
    from ci_user.backends.protocol import Backend, BackendSettings
    from ci_user.environment import Environment
    from ci_user.environment_siblings import Guarded
    from ci_user.lease import Lease
    from ci_user.policy.choice import Choice
    from ci_user.reports.console import Console
    from ci_user.state_bucket import StateBucket
    from ci_user.tfvars import Tfvars
    from ci_user.toolchain import Toolchain


@dataclass(frozen=True)
class Loaded:
    """An environment as its file and the policies say, before anything was contacted.

    What only a plan needs is worked out when it is asked for: the work on keys does without policies.

    Args:
        root: The repository.
        environment: The environment.
        every: All environments by name, this one among them.
        inline_policy_names: Inline policies of the user that Terraform leaves alone: the deny of a revocation.
    """

    root: Path
    environment: Environment
    every: Mapping[str, Environment]
    inline_policy_names: tuple[str, ...] = ()

    @cached_property
    def guarded(self) -> Guarded:
        """Return what the boundary guards."""
        from ci_user.environment_siblings import guarded

        return guarded(self.environment, self.every.values())

    @cached_property
    def choice(self) -> Choice:
        """Return the policies, packed.

        Raises:
            PolicyError: One is wrong, or they do not fit.
        """
        from ci_user.policy.choice import choose

        return choose(self.environment, self.root)

    @cached_property
    def boundary(self) -> str:
        """Return the CI user's boundary as canonical JSON."""
        from ci_user.policy import guard

        return guard.boundary(self.environment, self.guarded)

    @cached_property
    def role_boundary(self) -> str:
        """Return the boundary for roles as canonical JSON."""
        from ci_user.policy import guard

        return guard.role_boundary(self.environment, self.guarded)

    @cached_property
    def neighbours(self) -> tuple[tuple[str, str], ...]:
        """Return the other environments of its account: name and prefix."""
        from ci_user.environment_siblings import neighbours

        return neighbours(self.environment, self.every.values())

    @cached_property
    def tfvars(self) -> Tfvars:
        """Return the variables of the root module."""
        return tfvars.render(
            self.environment,
            policies=self.choice.packs,
            attached_arns=self.choice.attached_arns,
            boundary=self.boundary,
            role_boundary=self.role_boundary,
            inline_policy_names=self.inline_policy_names,
        )

    @property
    def documents(self) -> tuple[str, ...]:
        """Return every policy document that a plan of this environment holds."""
        return (*self.tfvars.values["policies"].values(), self.boundary, self.role_boundary)

    def leaving(self, inline_policy_names: tuple[str, ...]) -> Loaded:
        """Return it with inline policies that Terraform leaves alone; what was worked out already stays."""
        if inline_policy_names == self.inline_policy_names:
            return self
        other = replace(self, inline_policy_names=inline_policy_names)
        for name in ("guarded", "choice", "boundary", "role_boundary", "neighbours"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other


@dataclass(frozen=True)
class Run:
    """A loaded environment with its verified way into AWS. ``workdir`` is private and goes away with the run."""

    loaded: Loaded
    accesses: Accesses
    caller: Caller
    console: Console
    workdir: Path
    environ: Mapping[str, str]

    @property
    def environment(self) -> Environment:
        """Return the environment."""
        return self.loaded.environment

    @cached_property
    def bucket(self) -> StateBucket:
        """Return the state bucket; nothing is contacted yet.

        Raises:
            CredentialsError: Its own login cannot be resolved.
        """
        from ci_user.state_bucket import StateBucket

        environment, state = self.environment, self.environment.state
        return StateBucket(
            self.accesses.state,
            state.bucket,
            account_id=state.account_id or environment.account_id,
            region=self.accesses.state.region,
            partition=environment.partition,
            kms_key=state.kms_key,
        )

    @property
    def cache(self) -> Path:
        """Return the directory that keeps what later runs of this environment may reuse; it holds no secret."""
        return self.loaded.root / ".cache" / "environments" / self.environment.name

    def backends(self, check: Callable[[Any], None] | None = None) -> tuple[Backend, ...]:
        """Return the environment's backends; with ``check``, every request of theirs is fenced by it."""
        return tuple(self.backend(settings, check) for settings in self.environment.places)

    def backend(
        self, settings: BackendSettings, check: Callable[[Any], None] | None = None, *, reads_secrets: bool = True
    ) -> Backend:
        """Return one backend, opened.

        Args:
            settings: One of the environment's places.
            check: Fences every request of it.
            reads_secrets: False for a run that reads no secret, the backend's own token in Secrets Manager included.
        """
        from ci_user.backends import open_backend

        access = self.accesses.for_backend(settings)
        return open_backend(
            settings,
            access.fenced_by(check) if check else access,
            self.environment,
            self.loaded.root,
            environ=self.environ,
            check=check,
            reads_secrets=reads_secrets,
        )

    def former_backends(
        self, targets: Iterable[str], check: Callable[[Any], None] | None = None
    ) -> tuple[tuple[Backend, ...], dict[str, str]]:
        """Return the places that the file no longer names, opened, and why others could not be opened.

        Args:
            targets: Where keys were ever delivered to, by the journal.
            check: Fences every request of theirs.
        """
        from ci_user.backends import open_backend, settings_of

        current = {settings.target(self.environment) for settings in self.environment.places}
        found, closed = [], {}
        for target in targets:
            if target in current:
                continue
            try:
                settings = settings_of(target, self.environment)
                if settings is None:
                    closed[target] = "nothing here knows how to open it"
                    continue
                access = self.accesses.for_backend(settings)
                if access.account_id != self.environment.account_id:
                    access.verify()
                fenced = access.fenced_by(check) if check else access
                found.append(
                    open_backend(
                        settings, fenced, self.environment, self.loaded.root, environ=self.environ, check=check
                    )
                )
            except CiUserError as error:
                closed[target] = error.what
        return tuple(found), closed

    def trail(self, command: str, run: str) -> Trail:
        """Return the audit trail of a run of this command."""
        from ci_user.audit import Actor, Trail
        from ci_user.machine import owner_text

        environment = self.environment
        actor = Actor(
            caller=self.caller.arn,
            owner=owner_text(),
            command=command,
            environment=environment.name,
            account_id=environment.account_id,
            run=run,
        )
        return Trail(actor, environment.path(environment.audit.file), self.console.line)

    @contextmanager
    def lease(self, command: str, wait: timedelta) -> Iterator[Lease]:
        """Hold the environment while the block runs.

        Raises:
            LockHeldError: Somebody else holds it, and did for longer than ``wait``.
        """
        from ci_user.lease import Lease

        with Lease.acquire(
            self.bucket,
            self.environment.state.lease_key,
            ttl=self.environment.lock.ttl,
            command=command,
            wait=wait,
        ) as lease:
            yield lease

    def terraform(self, toolchain: Toolchain, check: Callable[[], None] = lambda: None) -> Terraform:
        """Return this environment's Terraform; ``check`` raises when its commands are to end."""
        environment, state = self.environment, self.environment.state
        own = self.accesses.state_has_own
        extra = {"AWS_CONFIG_FILE": str(write_state_profile(self.workdir))} if own else {}
        return Terraform(
            toolchain.terraform,
            self.loaded.root / "terraform",
            self.cache / "terraform",
            environment=lambda: self.accesses.child_environment(self.environ) | extra,
            backend=backend_settings(
                bucket=state.bucket,
                key=state.key,
                region=self.accesses.state.region,
                kms_key=state.kms_key,
                own_profile=own,
                path_style=self.accesses.state.endpoint_url is not None,
                account_id=self.accesses.state.account_id if own else environment.account_id,
            ),
            version=toolchain.version,
            cli_config=toolchain.cli_config,
            timeout=environment.timeout.total_seconds(),
            on_event=self.console.event,
            check=check,
        )


def load(name: str, root: Path) -> Loaded:
    """Read an environment, its siblings, its policies and its boundaries.

    Raises:
        EnvironmentFileError, PolicyError, UsageError: Something in the files is wrong.
    """
    loaded = load_environment(name, root)
    # Whatever is wrong with a policy is told before anything is contacted.
    _ = loaded.tfvars
    return loaded


def load_environment(name: str, root: Path) -> Loaded:
    """Read an environment and its siblings, for work that needs no policy.

    Raises:
        EnvironmentFileError, UsageError: Something in the files is wrong.
    """
    from ci_user import environment_files

    environment_files.check_name(name, environment_files.names(root))
    environments = environment_files.load_all(root, wanted=name)
    return Loaded(root, environments[name], environments)


def load_alone(name: str, root: Path) -> Loaded:
    """Read an environment without a look at its siblings, whose files may be broken while a leak has to be answered.

    Raises:
        EnvironmentFileError, UsageError: Something in its own file is wrong.
    """
    from ci_user import environment_files

    environment = environment_files.load_alone(name, root)
    return Loaded(root, environment, {name: environment})


@contextmanager
def opened(
    loaded: Loaded,
    console: Console,
    environ: Mapping[str, str] | None = None,
    *,
    only_target: bool = False,
    logins: Logins | None = None,
) -> Iterator[Run]:
    """Open the way into the environment's account, after its number was compared; yields the run.

    The sandbox is started, and its bucket made, when needed.

    Args:
        loaded: The environment.
        console: Where progress and questions go.
        environ: The ambient variables; the process's own by default.
        only_target: Leave the logins of state and backends for later: whoever answers a leak needs neither.
        logins: Shares logins and clients with other environments.

    Raises:
        CredentialsError: No usable credentials, or an endpoint that the file does not name.
        WrongAccountError: The credentials belong to another account.
        SandboxError: The embedded AWS does not start.
    """
    environment = loaded.environment
    environ = os.environ if environ is None else environ
    accesses = _resolve(loaded, console, environ, logins)
    caller = accesses.verify_target() if only_target else accesses.verify()
    console.detail(f"working as {caller.arn}")
    workdir = private_directory(loaded.root / ".cache" / "runs") / f"{environment.name}-{secrets.token_hex(6)}"
    private_directory(workdir)
    try:
        yield Run(
            loaded=loaded,
            accesses=accesses,
            caller=caller,
            console=console,
            workdir=workdir,
            environ=environ,
        )
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def _resolve(loaded: Loaded, console: Console, environ: Mapping[str, str], logins: Logins | None = None) -> Accesses:
    environment = loaded.environment
    if not environment.sandbox:
        return resolve(environment, environ, logins=logins)
    from ci_user.sandbox import Sandbox

    sandbox = Sandbox(loaded.root, account_id=environment.account_id, region=environment.region)
    up = sandbox.up()
    for note in up.notes:
        console.line(note)
    return resolve(
        environment,
        environ,
        endpoint_url=up.endpoint_url,
        sandbox_credentials=sandbox.deployer_credentials,
        logins=logins,
    )


def find_toolchain(loaded: Loaded, environ: Mapping[str, str]) -> Toolchain:
    """Return Terraform and where its provider comes from.

    Raises:
        ToolchainError: One is missing or does not fit, or a protected environment would run an unlocked provider.
    """
    from ci_user import toolchain

    found = toolchain.find(loaded.root, environ, allow_system_mirror=loaded.environment.sandbox)
    if found.dev_overrides and loaded.environment.protected:
        raise ToolchainError(
            "the Terraform CLI configuration has dev_overrides, which bypass the provider lock",
            where="TF_CLI_CONFIG_FILE or ~/.terraformrc",
            expected=f"no dev_overrides for {loaded.environment.name}, which is protected",
            do="take them out, or point TF_CLI_CONFIG_FILE at another file",
            runbook="toolchain",
        )
    return found
