"""The tasks: each hands its flags to one function of ``ci_user`` and exits with what that returns.

Nothing is imported here that costs time: ``invoke --list`` has to answer at once.
"""

from __future__ import annotations

from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

_ENV = {"env": "Name of the environment, as in environments/NAME.yaml."}
_JSON = {"json": "Print one JSON document on standard output, everything else on standard error."}
_VERBOSE = {"verbose": "Also say what the tool does, step by step; never a secret."}
_YES = {"yes": "Agree without being asked; not enough for a protected environment."}
_CONFIRM = {"confirm": "Agree by naming the environment; enough for a protected one."}
_FILE = {"file": "A policy document; once for each file."}
_WAIT = {"lock_timeout": "How long to wait while somebody else works on the environment, such as 90s or 5m."}


def _run(name: str, *, json: bool = False, verbose: bool = False, **flags: Any) -> None:
    from ci_user import commands

    command = getattr(commands, name)
    raise Exit(code=commands.run(lambda console: command(console, **flags), json=json, verbose=verbose))


def _keys(context: Context, name: str, *, json: bool, verbose: bool, **flags: Any) -> None:
    from ci_user import commands, key_commands

    if context.config.run.dry:
        raise Exit(code=commands.refuse_dry(task=name))
    command = getattr(key_commands, name)
    raise Exit(code=commands.run(lambda console: command(console, **flags), json=json, verbose=verbose))


def _change(context: Context, name: str, **flags: Any) -> None:
    if context.config.run.dry:
        from ci_user import commands

        act = flags.get("act")
        raise Exit(code=commands.refuse_dry(task=f"{name}.{act}" if act else name))
    _run(name, **flags)


def _unchanging(_: Context, name: str, **flags: Any) -> None:
    _run(name, **flags)


def _nightly(name: str, *, json: bool, verbose: bool = False, **flags: Any) -> None:
    from ci_user import commands, night_commands

    command = getattr(night_commands, name)
    raise Exit(code=commands.run(lambda console: command(console, **flags), json=json, verbose=verbose))


def _policy(name: str, *, json: bool, **flags: Any) -> None:
    from ci_user import commands, policy_commands

    command = getattr(policy_commands, name)
    raise Exit(code=commands.run(lambda console: command(console, **flags), json=json))


@task(
    auto_shortflags=False,
    help=_ENV
    | _YES
    | _CONFIRM
    | _WAIT
    | _JSON
    | _VERBOSE
    | {
        "plan": "Apply exactly the plan that `invoke plan --out DIR` wrote there.",
        "digest": "The approved plan's digest, as the approver saw it.",
        "allow_replace": "Accept a plan that deletes or replaces the user or the group.",
    },
)
def deploy(
    context: Context,
    env: str = "",
    yes: bool = False,
    confirm: str = "",
    plan: str = "",
    digest: str = "",
    allow_replace: bool = False,
    lock_timeout: str = "0s",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Plan, scan, confirm and apply; make the key and deliver it."""
    _change(
        context,
        "deploy",
        env=env,
        yes=yes,
        confirm=confirm,
        plan=plan,
        digest=digest,
        allow_replace=allow_replace,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    help=_ENV
    | _JSON
    | _VERBOSE
    | {
        "out": "Write plan, findings and digest into this new directory, for approval.",
        "allow_replace": "Accept a plan that deletes or replaces the user or the group.",
    },
)
def plan(
    context: Context,
    env: str = "",
    out: str = "",
    allow_replace: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Show what a deploy would change, and what the scan finds; exits 2 when changes are pending."""
    # A plan changes nothing in AWS; only the bundle that --out asks for is written.
    start = _change if out else _unchanging
    start(context, "plan", env=env, out=out, allow_replace=allow_replace, json=json, verbose=verbose)


@task(auto_shortflags=False, help=_ENV | _YES | _CONFIRM | _WAIT | _JSON | _VERBOSE)
def destroy(
    context: Context,
    env: str = "",
    yes: bool = False,
    confirm: str = "",
    lock_timeout: str = "0s",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Delete the keys, what was delivered, and the identity."""
    _change(
        context,
        "destroy",
        env=env,
        yes=yes,
        confirm=confirm,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    help=_ENV
    | _YES
    | _CONFIRM
    | _WAIT
    | _JSON
    | _VERBOSE
    | {
        "all": "Every environment that is no sandbox; one that fails stops no other.",
        "force": "Make a new key whatever the age of the one there is.",
        "now": "Finish without grace and soak: whatever still holds the old key fails.",
    },
)
def rotate(
    context: Context,
    env: str = "",
    all: bool = False,  # noqa: A002 - the flag's name
    force: bool = False,
    now: bool = False,
    yes: bool = False,
    confirm: str = "",
    lock_timeout: str = "0s",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Renew the key when it is due, and move old keys on; exits 3 when a person has to look."""
    _keys(
        context,
        "rotate",
        env=env,
        every=all,
        force=force,
        now=now,
        yes=yes,
        confirm=confirm,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    iterable=["delete_key"],
    help=_ENV
    | _YES
    | _CONFIRM
    | _JSON
    | _VERBOSE
    | {
        "all_keys": "Make every key of the user inactive, whoever made it.",
        "delete_key": "Delete this key, whoever made it; once for each key.",
        "no_replacement": "Deliver no new key: the pipeline stands still until the next deploy.",
        "lock_timeout": "How long to wait for another run before the new key is delivered; the deny waits for nobody.",
    },
)
def revoke(
    context: Context,
    delete_key: list[str],
    env: str = "",
    all_keys: bool = False,
    no_replacement: bool = False,
    yes: bool = False,
    confirm: str = "",
    lock_timeout: str = "2m",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Answer a leaked key: deny, deactivate, look for other ways in, deliver a new key."""
    _keys(
        context,
        "revoke",
        env=env,
        all_keys=all_keys,
        delete_key=delete_key,
        no_replacement=no_replacement,
        yes=yes,
        confirm=confirm,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    help=_ENV
    | _YES
    | _CONFIRM
    | _WAIT
    | _JSON
    | _VERBOSE
    | {"key": "The key's id; the one that was deactivated last when left out."},
)
def reactivate(
    context: Context,
    env: str = "",
    key: str = "",
    yes: bool = False,
    confirm: str = "",
    lock_timeout: str = "0s",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Make an old key active again whose deactivation broke something; never one that leaked."""
    _keys(
        context,
        "reactivate",
        env=env,
        key=key,
        yes=yes,
        confirm=confirm,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    iterable=["to"],
    help=_ENV
    | _YES
    | _CONFIRM
    | _WAIT
    | _JSON
    | _VERBOSE
    | {
        "to": "A backend's name, or a target as `invoke status` shows it; once for each. Without it: those without the key."
    },
)
def redeliver(
    context: Context,
    to: list[str],
    env: str = "",
    yes: bool = False,
    confirm: str = "",
    lock_timeout: str = "0s",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Deliver the current key once more to a backend that lost it or was just added; makes no key."""
    _keys(
        context,
        "redeliver",
        env=env,
        to=to,
        yes=yes,
        confirm=confirm,
        lock_timeout=lock_timeout,
        json=json,
        verbose=verbose,
    )


@task(auto_shortflags=False, help=_ENV | _JSON | _VERBOSE)
def status(_: Context, env: str = "", json: bool = False, verbose: bool = False) -> None:
    """Show user, policies, key ids with age and last use, and where they were delivered."""
    _run("status", env=env, json=json, verbose=verbose)


@task(auto_shortflags=False, help=_ENV | _YES | _VERBOSE)
def unlock(context: Context, env: str = "", yes: bool = False, verbose: bool = False) -> None:
    """Show who holds the environment and, when asked to, take it away from a run that is dead."""
    _change(context, "unlock", env=env, yes=yes, verbose=verbose)


@task(
    auto_shortflags=False,
    help=_ENV | _JSON | _VERBOSE | {"yes": "Do it; without it, only say what would be done."},
)
def bootstrap(context: Context, env: str = "", yes: bool = False, json: bool = False, verbose: bool = False) -> None:
    """Make the state bucket: versioned, encrypted, not public, TLS only."""
    _change(context, "bootstrap", env=env, yes=yes, json=json, verbose=verbose)


@task(auto_shortflags=False, help={"env": "Name of the new environment."})
def new(context: Context, env: str = "") -> None:
    """Write a commented environment file."""
    _change(context, "new", env=env)


_ONLY = {"only": "Only environments whose name matches this pattern, such as 'prod-*'; once for each pattern."}
_RESULT = {"result": "A directory that `invoke check --out` wrote."}
_RECORDS = {"records": "Where records of clean checks are kept, s3://BUCKET/PREFIX; docs/nightly.md."}
_GITHUB = {"github": "Also write GitHub's step summary and annotations."}


@task(
    auto_shortflags=False,
    iterable=["only"],
    help=_ENV
    | _ONLY
    | _RECORDS
    | _GITHUB
    | _JSON
    | _VERBOSE
    | {
        "verbose": "Also list notices and what is accepted, and say what the tool does, step by step; never a secret.",
        "all": "Every environment that is no sandbox.",
        "shard": "Only this part of them, such as 3/10: for the jobs of a CI matrix.",
        "full": "Plan every environment, also those in which nothing has changed.",
        "out": "Write results.json, report.html and the other forms into this directory.",
        "executor": "dask, to run on a Dask cluster.",
        "scheduler": "The cluster's scheduler, such as tls://dask.example:8786.",
        "tls_ca": "The cluster's authority, a PEM file.",
        "tls_cert": "The certificate to show to it, a PEM file.",
        "tls_key": "The certificate's key, a PEM file.",
    },
)
def check(
    _: Context,
    only: list[str],
    env: str = "",
    all: bool = False,  # noqa: A002 - the flag is called so
    shard: str = "",
    full: bool = False,
    records: str = "",
    out: str = "",
    github: bool = False,
    executor: str = "",
    scheduler: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Look for drift, what is not deployed, findings, keys and places; changes nothing; exits 3 when somebody has to act."""
    _nightly(
        "check",
        env=env,
        every=all,
        only=only,
        shard=shard,
        full=full,
        records=records,
        out=out,
        github=github,
        executor=executor,
        scheduler=scheduler,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        json=json,
        verbose=verbose,
    )


@task(
    auto_shortflags=False,
    iterable=["only"],
    help=_ONLY | _JSON | {"shards": "How many jobs share the work: list those in place of the environments."},
)
def environments(_: Context, only: list[str], shards: str = "", json: bool = False) -> None:
    """List the environments that `invoke check --all` is about; with --json as a CI matrix."""
    _nightly("environments", only=only, shards=shards, json=json)


@task(
    auto_shortflags=False,
    iterable=["result"],
    name="merge",
    help=_RESULT
    | _GITHUB
    | _JSON
    | _VERBOSE
    | {
        "out": "Write the joined results into this directory.",
        "history": "An SQLite file that is kept from night to night: since when something is wrong.",
        "expect": "How many shards there should be; those that are not there are errors.",
    },
)
def reports_merge(
    _: Context,
    result: list[str],
    out: str = "",
    history: str = "",
    expect: str = "",
    github: bool = False,
    json: bool = False,
    verbose: bool = False,
) -> None:
    """Join the results of shards into one report."""
    _nightly("merge", result=result, out=out, history=history, expect=expect, github=github, json=json, verbose=verbose)


@task(auto_shortflags=False, name="keep", help=_RESULT | _RECORDS | _JSON)
def reports_keep(context: Context, result: str = "", records: str = "", json: bool = False) -> None:
    """Keep the records of a check where the next one finds them."""
    if context.config.run.dry:
        from ci_user import commands

        raise Exit(code=commands.refuse_dry(task="reports.keep"))
    _nightly("keep", result=result, records=records, json=json)


@task(
    auto_shortflags=False,
    name="notify",
    help=_RESULT | _JSON | {"details": "Also tell what is wrong and where, and not only how many."},
)
def reports_notify(context: Context, result: str = "", details: bool = False, json: bool = False) -> None:
    """Tell the webhook in CI_USER_WEBHOOK_URL how a check ended."""
    if context.config.run.dry:
        from ci_user import commands

        raise Exit(code=commands.refuse_dry(task="reports.notify"))
    _nightly("notify", result=result, details=details, json=json)


@task(auto_shortflags=False)
def schema(context: Context) -> None:
    """Write the JSON Schema that completes and checks environment files in editors."""
    _change(context, "schema")


@task(
    auto_shortflags=False,
    help=_JSON | {"env": "Also ask each place of this environment whether it could take a key; nothing is changed."},
)
def doctor(_: Context, env: str = "", json: bool = False) -> None:
    """Show what was found on this machine, from where, which version, and what to do about what is missing."""
    _run("doctor", env=env, json=json)


@task(auto_shortflags=False, help=_JSON | {"backend": "Only this one; a package's own is imported for it."})
def backends(_: Context, backend: str = "", json: bool = False) -> None:
    """List the secrets backends that are installed, with their settings."""
    _run("backends", backend=backend, json=json)


@task(auto_shortflags=False, name="up", help=_JSON)
def sandbox_up(context: Context, json: bool = False) -> None:
    """Start the embedded AWS, or find the one that runs."""
    _change(context, "sandbox", act="up", json=json)


@task(auto_shortflags=False, name="down", help=_JSON)
def sandbox_down(context: Context, json: bool = False) -> None:
    """Stop the embedded AWS in an orderly way; it keeps what it has."""
    _change(context, "sandbox", act="down", json=json)


@task(auto_shortflags=False, name="reset", help=_JSON)
def sandbox_reset(context: Context, json: bool = False) -> None:
    """Start the embedded AWS anew, with nothing in it."""
    _change(context, "sandbox", act="reset", json=json)


@task(auto_shortflags=False, name="env")
def sandbox_env(_: Context) -> None:
    """Print export lines that point any AWS client at the embedded AWS."""
    _run("sandbox", act="env")


@task(
    auto_shortflags=False,
    name="lint",
    positional=[],
    iterable=["file"],
    help=_FILE | _JSON | {"aws": "Ask IAM Access Analyzer too; needs AWS credentials, and changes nothing."},
)
def policy_lint(_: Context, file: list[str], aws: bool = False, json: bool = False) -> None:
    """Check policy files: grammar, actions, ARNs and conditions; exits 3 with findings."""
    _policy("lint", files=file, aws=aws, json=json)


@task(
    auto_shortflags=False,
    name="escalation",
    positional=[],
    iterable=["file"],
    help=_FILE
    | _JSON
    | {
        "boundary": "The permissions boundary of who holds the policies.",
        "role_boundary": "The boundary that the policies demand of new roles and users, to judge its content too.",
    },
)
def policy_escalation(
    _: Context, file: list[str], boundary: str = "", role_boundary: str = "", json: bool = False
) -> None:
    """Say whether who holds these policies together can become more than it is; exits 0 only when it cannot."""
    _policy("escalation", files=file, boundary=boundary, role_boundary=role_boundary, json=json)


@task(
    auto_shortflags=False,
    name="diff",
    help=_JSON | {"old": "The policy document before.", "new": "The policy document after."},
)
def policy_diff(_: Context, old: str = "", new: str = "", json: bool = False) -> None:
    """Say in words what one policy allows that another one does not."""
    _policy("diff", old=old, new=new, json=json)


@task(
    auto_shortflags=False,
    name="pack",
    positional=[],
    iterable=["file"],
    help=_FILE | _JSON | {"out": "Write the managed policies into this new directory."},
)
def policy_pack(context: Context, file: list[str], out: str = "", json: bool = False) -> None:
    """Show which managed policies the files become together, and how large these are."""
    if out and context.config.run.dry:
        from ci_user import commands

        raise Exit(code=commands.refuse_dry(task="policy.pack"))
    _policy("pack", files=file, out=out, json=json)


@task(
    auto_shortflags=False,
    name="show",
    help=_ENV
    | _JSON
    | {"policy": "Instead: deployer or nightly-check, for the role that works on this environment's account."},
)
def policy_show(_: Context, env: str = "", policy: str = "", json: bool = False) -> None:
    """Show every policy document that a deploy of an environment would put in place."""
    _policy("show", env=env, policy=policy, json=json)


_policies = Collection("policy")
for _task in (policy_lint, policy_escalation, policy_diff, policy_pack, policy_show):
    _policies.add_task(_task)

_sandbox = Collection("sandbox")
for _task in (sandbox_up, sandbox_down, sandbox_reset, sandbox_env):
    _sandbox.add_task(_task)

_reports = Collection("reports")
for _task in (reports_merge, reports_keep, reports_notify):
    _reports.add_task(_task)

namespace = Collection(
    deploy,
    plan,
    rotate,
    revoke,
    reactivate,
    redeliver,
    destroy,
    status,
    unlock,
    bootstrap,
    new,
    schema,
    doctor,
    backends,
    check,
    environments,
)
namespace.add_collection(_sandbox)
namespace.add_collection(_policies)
namespace.add_collection(_reports)
