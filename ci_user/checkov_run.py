"""checkov in process, made to fail closed. The only file that imports checkov.

What checkov 3.3.30 does by itself, and what is done about it here:

- A check that raises is logged and vanishes from the report, one on the graph vanishes without a word: here either
  stops the scan.
- Its analysis of policies is cached by file name, type and *name*, so that of two policies called ``this`` the second
  gets the first one's verdict, also in the next scan of the process: here the content is part of the name.
- A policy that this analysis cannot read passes as unknown: here that is a failed finding.
- A missing, empty or cut off file, another format or another ending give an empty report: here the resources that it
  counted are compared with those of the plan.
- It reads the plan as YAML, and a list item ``${file(x.yml)}`` pulls in that file: here such a plan is refused.
- It takes settings from the environment when imported and when run: here they are hidden from it.
- Importing it wraps standard output (colorama) and hangs a handler on the root logger: here neither happens.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import logging
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from ci_user.errors import ScanError
from ci_user.findings import GENERAL, Finding

_SETTINGS: Final = re.compile(
    r"(CHECKOV|CKV|BC|PRISMA|RENDER|CREATE|PROXY|VCS)_.*|LOG_LEVEL|EVAL_TF_PLAN_AFTER_UNKNOWN|RAW_TF_IN_GRAPH"
    r"|MAX_WILDCARD_ARR_SIZE|EXTERNAL_MODULES_DIR|ENABLE_DEFINITION_KEY|ENABLE_CONFIG_FILE_VALIDATION"
    r"|HCL_PARSE_TIMEOUT_SEC|REQUEST_MAX_TRIES|SLEEP_BETWEEN_REQUEST_TRIES|RUN_IN_DOCKER|RUN_SECRETS_MULTIPROCESS"
    r"|WORKDIR|ANSI_COLORS_DISABLED|ENABLE_DOTNET_CPM|JAVA_FULL_DT"
)
_MOST_CACHED: Final = 200
_ANALYSED: Final[dict[tuple[str, str, str] | None, dict[str, Any]]] = {}
"""What checks on a policy's document found, by check, resource type and document."""
_FILE_INCLUDE: Final = re.compile(r'"\$\{file\(')

FIXES: Final = {
    "CKV_AWS_40": "attach the policy to the group, not to the user",
    "CKV_AWS_62": "name the actions and resources instead of *",
    "CKV_AWS_63": "name the actions instead of *",
    "CKV_AWS_273": "a pipeline outside AWS needs a user; where it can sign in by OIDC, use a role, else accept this",
    "CKV_AWS_286": "allow the IAM actions on the application's own roles only, with the role boundary as a condition",
    "CKV_AWS_287": "take out the actions that return credentials, or name their resources",
    "CKV_AWS_288": "name the resources that may be read instead of *",
    "CKV_AWS_289": "name the resources whose permissions may be changed instead of *",
    "CKV_AWS_290": "name the resources that may be written instead of *, or add conditions",
    "CKV_AWS_355": "name the resources instead of *, for every action that can be limited to some",
    "CKV2_AWS_40": "name the IAM actions instead of iam:*",
    "CKV2_AWS_56": "do not attach IAMFullAccess",
}
_ELSE: Final = "change the resource, or accept the finding with reason, owner and expiry in the environment file"


@dataclass(frozen=True)
class CheckovReport:
    """What checkov found.

    Args:
        findings: The failed checks, and those on policies that could not be decided.
        passed: How many passed.
        checks: The ids of all checks that looked at something.
        version: checkov's version.
    """

    findings: tuple[Finding, ...]
    passed: int
    checks: frozenset[str]
    version: str


@dataclass
class _Watch:
    """What a run really looked at, kept beside checkov's own report."""

    run: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    undecided: list[tuple[str, str, str]] = field(default_factory=list)


@functools.cache
def load() -> SimpleNamespace:
    """Import checkov and read its checks: some 3 seconds the first time, nothing after.

    Raises:
        ScanError: It cannot be imported.
    """
    with _on_its_own(), _without_colorama():
        try:
            from checkov.common.models.enums import CheckResult
            from checkov.runner_filter import RunnerFilter
            from checkov.terraform.checks.utils.base_cloudsplaining_iam_scanner import (
                BaseTerraformCloudsplainingIAMScanner,
            )
            from checkov.terraform.plan_parser import TF_PLAN_RESOURCE_ADDRESS
            from checkov.terraform.plan_runner import Runner
            from checkov.version import version

            Runner().graph_registry.load_checks()
            # All of this stays to the end: the collector need not walk through it, which at exit alone takes a second.
            gc.freeze()
        except Exception as error:
            raise ScanError(
                f"checkov cannot be loaded: {type(error).__name__}: {error}",
                expected="the version that requirements.txt locks",
                do="install the locked packages again: make sandbox",
                runbook="scan",
            ) from error
        return SimpleNamespace(
            Runner=Runner,
            RunnerFilter=RunnerFilter,
            cache=BaseTerraformCloudsplainingIAMScanner.policy_document_cache,
            document_check=BaseTerraformCloudsplainingIAMScanner,
            results=CheckResult,
            address=TF_PLAN_RESOURCE_ADDRESS,
            version=version,
        )


def run(file: Path, managed: frozenset[str], data: frozenset[str]) -> CheckovReport:
    """Scan one redacted plan file. Not thread-safe: checkov's registries are shared.

    Args:
        file: The plan's JSON; its name must end in ``.json``.
        managed: The addresses of all managed resources that the plan will leave.
        data: The addresses of the data sources that are read while applying.

    Raises:
        ScanError: Anything that makes the result less than whole.
    """
    checkov = load()
    _refuse_includes(file)
    watch = _Watch()
    with _on_its_own():
        try:
            runner = checkov.Runner()
            runner.block_type_registries = {
                kind: _FailClosedRegistry(registry, checkov, watch)
                for kind, registry in runner.block_type_registries.items()
            }
            runner.run_graph_checks_results = _complete(runner, runner.run_graph_checks_results)
            report = runner.run(
                files=[str(file)],
                runner_filter=checkov.RunnerFilter(
                    framework=["terraform_plan"], show_progress_bar=False, download_external_modules=False
                ),
            )
        except ScanError:
            raise
        except Exception as error:
            # Whatever checkov raises, it has not looked at everything.
            raise _untrusted(f"checkov stopped: {type(error).__name__}: {error}") from error
        finally:
            if len(checkov.cache) > _MOST_CACHED:
                checkov.cache.clear()
                _ANALYSED.clear()
    _compare(report, file, watch, managed, data)
    return _result(report, watch, checkov.version)


def warm_up(policies: Sequence[str]) -> None:
    """Analyse policy documents before the plan that holds them is there: that takes half of a scan's time.

    Args:
        policies: Documents as JSON, as the plan is going to have them; another one is analysed when it comes.

    Raises:
        ScanError: They could not be scanned.
    """
    resources, changes = [], []
    for number, policy in enumerate(policies):
        resource = {
            "address": f"aws_iam_policy.warm_up_{number}",
            "mode": "managed",
            "type": "aws_iam_policy",
            "name": f"warm_up_{number}",
        }
        resources.append({**resource, "values": {"policy": policy}})
        change = {"actions": ["create"], "before": None, "after": {"policy": policy}, "after_unknown": {}}
        changes.append({**resource, "change": change})
    plan = {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": changes,
        "configuration": {},
    }
    with tempfile.TemporaryDirectory(prefix="ci-user-") as directory:
        file = Path(directory) / "plan.json"
        file.write_text(json.dumps(plan))
        run(file, frozenset(str(resource["address"]) for resource in resources), frozenset())


class _FailClosedRegistry:
    """One of checkov's registries, with a scan that neither swallows an exception nor reuses another one's analysis."""

    def __init__(self, registry: Any, checkov: SimpleNamespace, watch: _Watch) -> None:
        self._registry = registry
        self._checkov = checkov
        self._watch = watch
        self.graph: object = None

    def extract_entity_details(self, entity: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        details: tuple[str, str, dict[str, Any]] = self._registry.extract_entity_details(entity)
        return details

    def scan(
        self,
        scanned_file: str,
        entity: dict[str, Any],
        skipped_checks: list[Any],  # noqa: ARG002 - no comment in a plan skips a check
        runner_filter: Any,
        report_type: str | None = None,
    ) -> dict[Any, Any]:
        kind, name, attributes = self.extract_entity_details(entity)
        address = str(attributes[self._checkov.address])
        looked = self._watch.run[address]
        content = json.dumps(attributes, sort_keys=True, default=str).encode()
        unmistakable = f"{name}:{hashlib.sha256(content).hexdigest()}"
        results = {}
        for check in self._registry.get_checks(kind):
            if not runner_filter.should_run_check(check, report_type=report_type, file_origin_paths=[scanned_file]):
                raise _untrusted(f"checkov left out {check.id}")
            check.graph = self.graph
            # These checks look at the document alone, and at nothing else of the resource.
            document = json.dumps(attributes.get("policy"), sort_keys=True, default=str)
            of_document = isinstance(check, self._checkov.document_check) and "policy" in attributes
            known = (check.id, kind, document) if of_document else None
            try:
                result = _ANALYSED.get(known) or check.run(
                    scanned_file=scanned_file,
                    entity_configuration=attributes,
                    entity_name=unmistakable,
                    entity_type=kind,
                    skip_info={},
                )
            except Exception as error:
                raise _untrusted(f"the check {check.id} crashed on {address}: {type(error).__name__}") from error
            if known is not None:
                _ANALYSED[known] = result
            looked.add(check.id)
            if result["result"] == self._checkov.results.UNKNOWN and kind.startswith("aws_iam_"):
                self._watch.undecided.append((check.id, check.name, address))
            results[check] = result
        return results


def _complete(runner: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def results(*args: object, **options: object) -> Any:
        found = original(*args, **options)
        missing = {check.id for check in runner.graph_registry.checks} - {check.id for check in found}
        if missing or not found:
            raise _untrusted(f"checks on the graph crashed: {', '.join(sorted(missing)[:5]) or 'none ran'}")
        return found

    return results


def _refuse_includes(file: Path) -> None:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _untrusted(f"the plan's JSON cannot be read: {type(error).__name__}") from error
    if _FILE_INCLUDE.search(text):
        raise _untrusted("the plan holds a list item ${file(...)}, which checkov would replace by that file")


def _compare(
    report: Any,
    file: Path,
    watch: _Watch,
    managed: frozenset[str],
    data: frozenset[str],
) -> None:
    if not hasattr(report, "failed_checks"):
        raise _untrusted("checkov gave no single report")
    if report.parsing_errors:
        raise _untrusted("checkov could not parse the plan's JSON")
    if report.skipped_checks:
        raise _untrusted(f"checkov skipped {len(report.skipped_checks)} checks")
    prefix = f"{os.path.realpath(file)}:"
    counted = {resource.removeprefix(prefix) for resource in report.resources}
    if counted != managed:
        raise _untrusted(f"checkov counted other resources than the plan has: {_differing(counted, managed)}")
    scanned = {address for address in watch.run if address in managed | data}
    if scanned != managed | data:
        raise _untrusted(f"checkov did not look at each resource: {_differing(scanned, managed | data)}")


def _differing(found: set[str], expected: frozenset[str]) -> str:
    names = sorted(found ^ expected)
    return f"{len(found)} of {len(expected)}; {', '.join(names[:5])}"


def _result(report: Any, watch: _Watch, version: str) -> CheckovReport:
    findings = [
        Finding(
            check=record.check_id,
            name=record.check_name,
            resource=record.resource_address,
            message=_message(record.check_result.get("evaluated_keys")),
            fix=FIXES.get(record.check_id, _ELSE),
        )
        for record in report.failed_checks
    ]
    findings += [
        Finding(check, name, address, "checkov could not decide it", "write the policy so that it can be read")
        for check, name, address in watch.undecided
    ]
    graph = {record.check_id for record in (*report.passed_checks, *report.failed_checks)}
    return CheckovReport(
        findings=tuple(sorted(set(findings))),
        passed=len(report.passed_checks),
        checks=frozenset(graph.union(*watch.run.values())),
        version=version,
    )


def _message(keys: object) -> str:
    named = [str(key) for key in keys if key] if isinstance(keys, list) else []
    return f"see {', '.join(named[:3])}" if named else GENERAL


def _untrusted(what: str) -> ScanError:
    return ScanError(
        what,
        where="the scan of the plan",
        expected="that every resource of the plan is looked at by every check",
        do="run it again; when it stays, see the runbook",
        runbook="scan",
    )


@contextmanager
def _on_its_own() -> Iterator[None]:
    """Hide settings and the root logger from checkov, while it is imported and while it runs."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if _SETTINGS.fullmatch(name)}
    root, silence = logging.getLogger(), logging.NullHandler()
    root.addFilter(_not_checkov)
    own = logging.getLogger("checkov")
    own.propagate = False
    if not own.handlers:
        own.addHandler(logging.NullHandler())
    # Without any handler, its first `logging.debug` would set up the root logger.
    root.addHandler(silence)
    try:
        yield
    finally:
        root.removeHandler(silence)
        root.removeFilter(_not_checkov)
        os.environ.update(hidden)


def _not_checkov(record: logging.LogRecord) -> bool:
    return f"{os.sep}checkov{os.sep}" not in record.pathname


@contextmanager
def _without_colorama() -> Iterator[None]:
    """Keep the import from wrapping standard output, which would strip or add colours in what others print."""
    import colorama

    original = colorama.init
    colorama.init = lambda *_args, **_options: None
    try:
        yield
    finally:
        colorama.init = original
