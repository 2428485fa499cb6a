from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ci_user.approval import code_digest
from ci_user.errors import ClusterError, UsageError
from ci_user.nightly import executor_dask
from ci_user.nightly.cluster import ClusterAddress
from ci_user.nightly.executor_dask import Answer, refuse_other_code, run

NOWHERE = ClusterAddress("tcp://127.0.0.1:1")


def check(names: list[str], options: dict[str, Any]) -> str:
    return json.dumps([names, options])


def never(answer: Answer) -> None:
    pytest.fail(f"an answer: {answer}")


def test_without_batches_nothing_is_connected_to() -> None:
    run([], check, {}, NOWHERE, never)


@pytest.mark.parametrize("value", [Path("secret"), b"bytes", {1, 2}, object(), float("nan")])
def test_an_option_that_is_no_json_value_does_not_travel(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        run([["shop"]], check, {"option": value}, NOWHERE, never)


def test_a_function_that_would_take_what_it_encloses_along_does_not_travel() -> None:
    secret = "a secret"

    def closure(names: list[str], options: dict[str, Any]) -> str:
        return secret

    for task in (closure, lambda names, options: secret, NOWHERE.security):
        with pytest.raises(TypeError, match="is no function of a module"):
            run([["shop"]], task, {}, NOWHERE, never)  # type: ignore[arg-type]


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(UsageError, match="distributed is not installed") as refused:
        run([["shop"]], check, {}, NOWHERE, never)
    assert "pip install 'ci-user[dask]'" in str(refused.value)


def test_importing_it_imports_no_dask(root: Path) -> None:
    code = "import ci_user.nightly.executor_dask, sys; print({'dask', 'distributed', 'tornado'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def a_checkout(directory: Path) -> Path:
    (directory / "terraform").mkdir()
    (directory / "terraform" / "main.tf").write_text("# one\n")
    return directory


def test_a_worker_with_the_same_code_works(tmp_path: Path) -> None:
    root = a_checkout(tmp_path)
    for _ in range(2):
        refuse_other_code(code_digest(root), root)


def test_a_worker_with_other_code_refuses(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is not the one that the check was started from"):
        refuse_other_code("0" * 64, a_checkout(tmp_path))


def test_a_worker_whose_code_was_changed_under_it_refuses_although_the_files_are_now_the_same(tmp_path: Path) -> None:
    root = a_checkout(tmp_path)
    refuse_other_code(code_digest(root), root)
    (root / "terraform" / "main.tf").write_text("# two\n")
    with pytest.raises(ClusterError, match="has changed since the worker began"):
        refuse_other_code(code_digest(root), root)


class Ended:
    """A future as Dask has it when its batch has ended."""

    def __init__(self, status: str, outcome: object) -> None:
        self.status = status
        self._outcome = outcome

    def exception(self, timeout: float) -> object:
        return self._outcome

    def result(self, timeout: float) -> object:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


def test_what_a_task_raised_on_purpose_is_told_as_it_is() -> None:
    refused = ClusterError("another checkout", do="check it out")
    answer = executor_dask._answer(Ended("error", refused), ("shop",), executor_dask.Waits())
    assert answer == Answer(("shop",), error=refused)


def test_a_result_that_was_lost_with_its_worker_is_waited_for_again() -> None:
    assert executor_dask._answer(Ended("finished", TimeoutError()), ("shop",), executor_dask.Waits()) is None


@pytest.mark.parametrize("status", ["error", "finished"])
def test_a_failure_whose_text_is_hostile_is_told_on_one_short_line(status: str) -> None:
    hostile = RuntimeError("\x1b[2J\n::error::" + "x" * 10_000)
    answer = executor_dask._answer(Ended(status, hostile), ("shop",), executor_dask.Waits())
    assert answer is not None
    assert answer.error is not None
    assert answer.error.what.startswith("the worker failed: RuntimeError: \\x1b[2J\\n::error::xx")
    assert len(answer.error.what) < 600


def test_an_answer_that_is_no_text_is_a_failure() -> None:
    answer = executor_dask._answer(Ended("finished", {"environments": []}), ("shop",), executor_dask.Waits())
    assert answer is not None
    assert answer.error is not None
    assert "no text but dict" in answer.error.what
