"""The scan gate: checkov and the project's own checks over one redacted plan, and nothing half done that passes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from ci_user.checks import ALL, Check, CheckContext
from ci_user.errors import PlanError, ScanError
from ci_user.files import write_private
from ci_user.findings import Finding
from ci_user.plan import Change, Plan, Resource, parse
from ci_user.text import plain

__all__ = ["NEVER_ACCEPTABLE", "CheckContext", "ScanResult", "Scanner"]

NEVER_ACCEPTABLE: Final = frozenset(check.id for check in ALL if check.never_acceptable)
"""Ids of the checks that no entry of accepted_findings waives."""

_FILE: Final = "scan.plan.json"
# The parts that checkov reads. The others are as large again, and it parses slowly.
_PARTS: Final = ("format_version", "terraform_version", "planned_values", "resource_changes", "configuration")
# What JSON may hold but YAML, by which checkov reads it, may not; and its line breaks, which it would fold.
_NOT_YAML: Final = re.compile(
    "[^\x09\x0a\x0d\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class ScanResult:
    """What was found, before anything is accepted.

    Args:
        findings: Every failed check.
        passed: How many checks passed, checkov's and the project's own.
        resources: How many resources were looked at, data sources included.
        checkov_version: The version that looked.
        checks_run: The ids of the checks that looked at something.
    """

    findings: tuple[Finding, ...]
    passed: int
    resources: int
    checkov_version: str
    checks_run: tuple[str, ...]


class Scanner:
    """Scans plans, one after the other; each result is independent of those before it."""

    # checkov's registries are shared by the whole process, so the lock is too.
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def preload(self, policies: Sequence[str] = ()) -> None:
        """Begin to import checkov in the background, which takes some 3 seconds. A failure shows when scanning.

        Args:
            policies: Policy documents that the plan is going to hold, as JSON; they are analysed meanwhile.
        """
        threading.Thread(target=self._load_quietly, args=(policies,), name="import-checkov", daemon=True).start()

    def scan(
        self,
        document: Mapping[str, Any],
        context: CheckContext,
        workdir: Path,
        *,
        destroying: bool = False,
    ) -> ScanResult:
        """Scan a redacted plan.

        Args:
            document: What `ci_user.redaction.redact` returned; anything in it may end up in messages.
            context: What the environment says must be true.
            workdir: A private directory; a file (mode 0600) lies there while checkov reads it.
            destroying: The plan takes everything away, so that user, group and boundary need not be in it.

        Raises:
            ScanError: The result could not be trusted: no plan, an incomplete one, something that was not looked at, a
                check that crashed, no user, group or boundary in the plan.
        """
        from ci_user import checkov_run

        try:
            plan = parse(document)
        except PlanError as error:
            raise ScanError(error.what, where=error.where, expected=error.expected, do=error.do) from error
        _require_whole(plan)
        if not destroying:
            _require_identity(plan, context)
        findings, passed, run = _own(plan, context)
        managed = _addresses(plan.managed) - _forgotten(plan)
        data = _addresses(resource for resource in plan.resources if resource.mode == "data")
        with self._lock:
            file = workdir / _FILE
            write_private(file, _yaml_proof(document).encode("utf-8"))
            try:
                report = checkov_run.run(file, managed, data)
            finally:
                file.unlink(missing_ok=True)
        return ScanResult(
            findings=tuple(sorted({_printable(finding) for finding in (*findings, *report.findings)})),
            passed=passed + report.passed,
            resources=len(managed) + len(data),
            checkov_version=report.version,
            checks_run=tuple(sorted(run | report.checks)),
        )

    def _load_quietly(self, policies: Sequence[str]) -> None:
        import contextlib

        from ci_user import checkov_run

        with self._lock, contextlib.suppress(ScanError):
            checkov_run.load()
            if policies:
                checkov_run.warm_up(policies)


def _require_whole(plan: Plan) -> None:
    if plan.errored or not plan.complete:
        raise _refused("the plan is errored or not complete", "a plan that Terraform finished")
    expected = {change.address for change in plan.changes if change.mode == "managed" and _stays(change)}
    planned = _addresses(plan.managed) - _forgotten(plan)
    if planned != expected:
        listed = ", ".join(sorted(planned ^ expected)[:5])
        raise _refused(
            f"planned values and changes do not speak of the same resources: {plain(listed)}",
            "each resource in both, as Terraform writes it",
        )


def _forgotten(plan: Plan) -> frozenset[str]:
    # Terraform lists them among what will be, without values: https://github.com/hashicorp/terraform/issues/38641
    return frozenset(change.address for change in plan.changes if change.kind == "forget")


def _stays(change: Change) -> bool:
    return change.kind not in ("delete", "forget")


def _require_identity(plan: Plan, context: CheckContext) -> None:
    wanted = {
        "the CI user": ("aws_iam_user", context.user_name),
        "its group": ("aws_iam_group", context.group_name),
        "its permissions boundary": ("aws_iam_policy", context.boundary_name),
    }
    for words, (kind, name) in wanted.items():
        found = [r for r in plan.managed if r.type == kind and r.values.get("name") == name]
        if len(found) != 1:
            raise _refused(f"{words} is {len(found)} times in the plan", f"one {kind} with the name {plain(name)}")


def _own(plan: Plan, context: CheckContext) -> tuple[list[Finding], int, set[str]]:
    findings, passed, run = [], 0, set()
    forgotten = _forgotten(plan)
    for check in ALL:
        for resource in (*plan.resources, *plan.data):
            if resource.type not in check.resource_types or resource.address in forgotten:
                continue
            message = _evaluate(check, resource, plan, context)
            run.add(check.id)
            if message is None:
                passed += 1
            else:
                findings.append(Finding(check.id, check.name, resource.address, message, check.fix))
    return findings, passed, run


def _evaluate(check: Check, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
    try:
        return check.evaluate(resource, plan, context)
    except Exception as error:
        # A defect of the check's own must stop the deploy, in words instead of a traceback.
        raise _refused(
            f"the check {check.id} crashed on {plain(resource.address)}: {type(error).__name__}",
            "that every check looks at every resource",
        ) from error


def _printable(finding: Finding) -> Finding:
    return Finding(
        check=plain(finding.check),
        name=plain(finding.name),
        # An acceptance compares the address, and the address of a resource holds no control characters.
        resource=plain(finding.resource),
        message=plain(finding.message, 500),
        fix=plain(finding.fix),
    )


def _yaml_proof(document: Mapping[str, Any]) -> str:
    parts = {key: document[key] for key in _PARTS if key in document}
    text = json.dumps(parts, ensure_ascii=False, allow_nan=False)
    return _NOT_YAML.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return "\ufffd" if 0xD800 <= number <= 0xDFFF else f"\\u{number:04x}"


def _addresses(resources: Iterable[Resource]) -> frozenset[str]:
    return frozenset(resource.address for resource in resources)


def _refused(what: str, expected: str) -> ScanError:
    return ScanError(
        what,
        where="the scan of the plan",
        expected=expected,
        do="plan again; when it stays, see the runbook",
        runbook="scan",
    )
