"""One environment to check, with doubles for AWS, Terraform and checkov; in order until a test changes it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.backends.protocol import Held
from ci_user.files import private_directory
from ci_user.findings import Finding
from ci_user.nightly import check as check_module
from ci_user.nightly import facts as facts_module
from ci_user.nightly import live_policies_audit, planner
from ci_user.nightly.check import Checked, Tools, check
from ci_user.nightly.facts_model import Facts
from ci_user.nightly.live_policies_audit import PoliciesJudged
from ci_user.nightly.records import Record, RecordBook
from ci_user.run import Loaded, Run
from ci_user.scan import ScanResult
from tests.project import ROOT
from tests.unit.nightly.identities import HELD, IN_ORDER, NOW, environment, facts, lease

Changes = dict[str, Any]


class Clock(dt.datetime):
    """The local clock, which stands still."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Clock:
        return cls.fromtimestamp(NOW.timestamp(), tz)


class States:
    """Versions of one state object, one after the other; the last one stays. None is no object."""

    def __init__(self, versions: Sequence[str | None]) -> None:
        self._versions = list(versions)

    def of(self, *_: object) -> States:
        return self

    def version(self, key: str) -> str | None:
        return self._versions[0]

    def fresh(self, key: str) -> str | None:
        return self._versions.pop(0) if len(self._versions) > 1 else self._versions[0]


@dataclasses.dataclass
class World:
    """What there is, and what was done."""

    patch: pytest.MonkeyPatch
    directory: Path
    file: Changes = dataclasses.field(default_factory=dict)
    facts: Facts = dataclasses.field(default_factory=facts)
    bucket: bool = True
    states: Sequence[str | None] = ("state",)
    scanned: Sequence[Finding] = ()
    policies: PoliciesJudged = PoliciesJudged()  # noqa: RUF009 - frozen
    document: Changes = dataclasses.field(default_factory=dict)
    held: Changes = dataclasses.field(default_factory=lambda: dict(HELD))
    plan_fails: Exception | None = None
    turns: int = 1
    did: list[str] = dataclasses.field(default_factory=list)
    variables: list[Changes] = dataclasses.field(default_factory=list)
    asked: list[Changes] = dataclasses.field(default_factory=list)

    def run(self) -> Run:
        own = environment(**self.file)
        return _Run(
            loaded=Loaded(ROOT, own, {own.name: own}),
            accesses=SimpleNamespace(target=None, state=SimpleNamespace(login="login", endpoint_url=None)),  # type: ignore[arg-type]
            caller=None,  # type: ignore[arg-type]
            console=None,  # type: ignore[arg-type]
            # Made, and removed, by `run.opened`.
            workdir=private_directory(self.directory / "run"),
            environ={},
            world=self,
        )

    def tools(self, *records: Record | None) -> Tools:
        """Return what is shared, with a book of these records; None alone for no book."""
        book = None if records == (None,) else RecordBook({one.environment: one for one in records if one})
        return Tools(
            toolchain=lambda _: None,  # type: ignore[arg-type, return-value]
            readings=SimpleNamespace(of=lambda _: None),  # type: ignore[arg-type]
            states=States(self.states),  # type: ignore[arg-type]
            book=book,
            versions=lambda _: "versions",
            scanner=SimpleNamespace(preload=lambda: None, scan=self._scan),  # type: ignore[arg-type]
            turns=threading.BoundedSemaphore(self.turns),
            stop=lambda: None,
        )

    def check(self, *records: Record | None) -> Checked:
        """Check it, with these records; what was done before is forgotten."""
        self.did.clear()
        return check(self.run(), self.tools(*records), lambda word: self.did.append(f"stage {word}"))

    @property
    def plans(self) -> int:
        """How many plans the last check made."""
        return self.did.count("plan")

    def _scan(self, *_: object) -> ScanResult:
        self.did.append("scan")
        return ScanResult(tuple(self.scanned), 10, 1, "3", ())

    def _planner(self, run: Run, *_: object) -> object:
        def document() -> Changes:
            self.did.append("plan")
            assert run.workdir.is_dir()
            if self.plan_fails is not None:
                raise self.plan_fails
            variables = run.loaded.tfvars.values
            self.variables.append(dict(variables))
            given = {name: {"value": value} for name, value in variables.items()}
            return {
                "format_version": "1.2",
                "terraform_version": "1.11.4",
                "complete": True,
                "errored": False,
                "applyable": False,
                "planned_values": {"root_module": {}},
                "variables": given,
                **self.document,
            }

        return SimpleNamespace(document=document)


@dataclasses.dataclass(frozen=True)
class _Run(Run):
    world: World

    @property
    def bucket(self) -> Any:
        return SimpleNamespace(name="states", account_id=self.environment.account_id, exists=lambda: self.world.bucket)

    def backend(self, settings: Any, check: Any = None, *, reads_secrets: bool = True) -> Any:
        target = settings.target(self.environment)
        self.world.asked.append({"target": target, "check": check, "reads_secrets": reads_secrets})
        found = self.world.held.get(target, Held(None, None))
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(held=lambda: found)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """An environment that is in order."""
    made = World(monkeypatch, tmp_path)
    clock = SimpleNamespace(datetime=Clock, date=dt.date, timedelta=dt.timedelta, UTC=dt.UTC)
    monkeypatch.setattr(check_module, "dt", clock)
    monkeypatch.setattr(check_module, "peek", lambda *_: lease(IN_ORDER))
    monkeypatch.setattr(check_module, "context_of", lambda *_: None)
    monkeypatch.setattr(facts_module, "read", lambda *_, access: made.facts)
    monkeypatch.setattr(live_policies_audit, "judge", lambda *_: made.policies)
    monkeypatch.setattr(planner, "Planner", made._planner)
    return made
