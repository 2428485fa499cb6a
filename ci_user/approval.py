"""A plan that one job makes, a person approves, and another job applies: the bundle in between, which nobody trusts.

The digest is the SHA-256 of the manifest and travels apart from the bundle (``--digest``). The manifest names everything the
approval was about, so one comparison binds plan, environment, account, backends, code, policies, lock and state.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_user.errors import ApprovalError, UsageError
from ci_user.files import cannot_write, digest_of_file, digest_of_files, write_private
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.environment import Environment

SCHEMA = 1
_PLAN = "plan.tfplan"
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20


@dataclass(frozen=True)
class Subject:
    """What an approval is about. Two subjects are equal when the same thing would happen.

    Args:
        environment: The environment's name.
        account_id: Its account.
        backends: Where the key goes.
        keys: What happens to the keys, in words; None when nothing does.
        file: SHA-256 of everything that the environment's file says: endpoints, roles, buckets and keys among it.
        tfvars: SHA-256 of the variables, policies and boundaries among them.
        code: SHA-256 of modules, policies, provider lock and this package.
        state: The state's lineage and serial, or None when there is no state yet.
        terraform: The version of Terraform that planned.
    """

    environment: str
    account_id: str
    backends: Sequence[str]
    keys: str | None
    file: str
    tfvars: str
    code: str
    state: Sequence[str | int] | None
    terraform: str


def subject(
    environment: Environment,
    root: Path,
    *,
    keys: str | None,
    tfvars: str,
    state: tuple[str, int] | None,
    terraform: str,
) -> Subject:
    """Return what would be approved now."""
    # Pydantic warns of a policy of the environment's own, which it has made a dictionary by then.
    said = environment.model_dump_json(exclude={"root"}, warnings=False)
    return Subject(
        environment=environment.name,
        account_id=environment.account_id,
        backends=[settings.target(environment) for settings in environment.places],
        keys=keys,
        file=hashlib.sha256(said.encode()).hexdigest(),
        tfvars=tfvars,
        code=code_digest(root),
        state=list(state) if state else None,
        terraform=terraform,
    )


def code_digest(root: Path) -> str:
    """Return the SHA-256 (hex) of everything that decides what is planned and how it is judged."""
    package = Path(__file__).parent
    terraform = root / "terraform"
    files = sorted(
        path
        for path in terraform.rglob("*")
        if path.is_file() and ".terraform" not in path.relative_to(terraform).parts[:-1]
    )
    own = digest_of_files(
        package, sorted(path for path in package.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    )
    return hashlib.sha256(f"{digest_of_files(terraform, files)}{own}".encode()).hexdigest()


def refuse_used(directory: Path) -> None:
    """See that a bundle may be written into ``directory``.

    Raises:
        UsageError: It is no directory, or holds something.
    """
    try:
        used = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    except OSError as error:
        raise cannot_write(directory, error) from None
    if used:
        raise UsageError(
            f"{directory} is not an empty directory",
            where="--out",
            expected="a directory that does not exist yet, or an empty one",
            do="name another one, or remove what an earlier plan left there",
        )


def write_bundle(directory: Path, plan: Path, about: Subject, findings: Mapping[str, Any]) -> str:
    """Write plan, findings and manifest into ``directory``, which must be new or empty; return the digest (hex).

    Raises:
        UsageError: The directory holds something, or cannot be written.
    """
    refuse_used(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(plan, directory / _PLAN)
        (directory / _PLAN).chmod(0o600)
    except OSError as error:
        raise cannot_write(directory, error) from None
    write_private(directory / "findings.json", (json.dumps(findings, indent=2) + "\n").encode())
    manifest = {"schema": SCHEMA, "plan": digest_of_file(directory / _PLAN), **asdict(about)}
    content = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    write_private(directory / _MANIFEST, content)
    return hashlib.sha256(content).hexdigest()


def open_bundle(directory: Path, digest: str, now: Subject, into: Path) -> Path:
    """Return a private copy of the approved plan, after everything that was approved was found unchanged.

    Args:
        directory: What ``write_bundle`` wrote, perhaps on another machine.
        digest: What the approver saw, handed over apart from the bundle.
        now: What would be approved now.
        into: A private directory; the copy is made first and checked there, so that nobody exchanges it in between.

    Raises:
        ApprovalError: Something differs; the message names each thing.
    """
    where = str(directory)
    try:
        content = (directory / _MANIFEST).read_bytes()[: _LARGEST_MANIFEST + 1]
        plan = into / "approved.tfplan"
        shutil.copyfile(directory / _PLAN, plan)
        plan.chmod(0o600)
    except OSError as error:
        raise ApprovalError(
            f"the approved plan cannot be read: {error.strerror}: {Path(str(error.filename)).name}",
            where=where,
            expected=f"the directory that `invoke plan --env {now.environment} --out DIR` wrote",
            do="check that the artifact of the plan job was downloaded there",
            runbook="approval",
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(found.encode(), digest.strip().lower().encode()):
        raise ApprovalError(
            f"the plan in the directory has the digest {found}",
            where=where,
            expected=f"{plain(digest.strip(), 64)}, which was approved",
            do="plan again and have that plan approved",
            runbook="approval",
        )
    try:
        manifest = json.loads(content)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise ApprovalError(
            "the manifest is none that this tool writes",
            where=where,
            do="plan again and have that plan approved",
            runbook="approval",
        )
    differences = _differences(manifest, now)
    if manifest.get("plan") != digest_of_file(plan):
        differences.append("the plan file is not the one that was approved")
    if differences:
        listed = "".join(f"\n    {difference}" for difference in differences)
        raise ApprovalError(
            f"what was approved is not what would be applied now:{listed}",
            where=where,
            do="plan again and have that plan approved",
            runbook="approval",
        )
    return plan


def _differences(manifest: Mapping[str, Any], now: Subject) -> list[str]:
    if manifest.get("schema") != SCHEMA:
        return [f"the bundle has format {manifest.get('schema')}, this version writes {SCHEMA}"]
    words = {
        "environment": "the environment is another one",
        "account_id": "the account is another one",
        "backends": "the key would go somewhere else",
        "keys": "something else would happen to the keys",
        "file": "the environment file has changed",
        "tfvars": "a policy or a boundary has changed",
        "code": "the modules, the policies, the provider lock or this tool have changed",
        "state": "the state has moved on since",
        "terraform": "another version of Terraform is used",
    }
    current = json.loads(json.dumps(asdict(now)))
    differences = []
    for name, text in words.items():
        if manifest.get(name) != current[name]:
            shown = (
                f" (approved: {manifest.get(name)}, now: {current[name]})"
                if name not in ("file", "tfvars", "code")
                else ""
            )
            differences.append(f"{text}{shown}")
    return differences
