"""How long policies take to judge: `.venv/bin/python benchmarks/policies.py`.

- escalation of one policy of 6,144 characters, of several kinds, after import: under 100 ms
- escalation of a user with 20 such policies: under 1 s
- `invoke policy.lint` of the recipe's sample as a process of its own: under 1.5 s

Each figure is the median of several runs, and the caches that remember patterns are emptied before each.
"""

from __future__ import annotations

import functools
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LIMIT = 6144
IAM = "arn:aws:iam::123456789012:"
Statement = dict[str, Any]


def _size(statements: list[Statement]) -> int:
    from ci_user.policy import documents

    return documents.size({"Version": "2012-10-17", "Statement": statements})


def _filled(make: Callable[[random.Random], Statement], seed: int) -> str:
    """Return a policy of as many statements as fit."""
    chance = random.Random(seed)  # noqa: S311 - the same policies in each run
    statements = [make(chance)]
    while _size([*statements, following := make(chance)]) <= LIMIT:
        statements.append(following)
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _named(chance: random.Random) -> Statement:
    name = f"shop-{chance.randrange(10**6)}"
    actions = ["lambda:UpdateFunctionCode", "iam:PassRole", "iam:CreateRole", "iam:PutRolePolicy", "s3:GetObject"]
    return {
        "Effect": "Allow",
        "Action": chance.sample(actions, 3),
        "Resource": [f"{IAM}role/{name}-*", f"arn:aws:lambda:*:123456789012:function:{name}-*"],
    }


def _wild(chance: random.Random) -> Statement:
    return {
        "Effect": chance.choice(["Allow", "Allow", "Deny"]),
        "Action": [f"{chance.choice('is')}*:*{chance.choice('abcdeprt')}*" for _ in range(4)],
        "Resource": [f"{IAM}*/*{chance.choice('abcdefgh')}*{chance.choice('abcdefgh')}*" for _ in range(2)],
    }


def _conditional(chance: random.Random) -> Statement:
    operator = chance.choice(["StringLike", "StringNotLike", "ForAnyValue:StringEquals", "StringEqualsIfExists"])
    return {
        "Effect": chance.choice(["Allow", "Allow", "Deny"]),
        "Action": ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"],
        "Resource": f"{IAM}role/{chance.choice('abcdef')}*",
        "Condition": {operator: {"iam:PermissionsBoundary": f"{IAM}policy/{chance.choice('abcdefgh')}*"}},
    }


def _cleared() -> None:
    """Forget every pattern that was looked at, so that each run begins as a new process does after its imports."""
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and found.__module__.startswith("ci_user.policy.globs"):
            found.cache_clear()


def _measured(texts: list[str], runs: int = 5) -> tuple[float, str]:
    from ci_user.policy.escalation import escalation
    from ci_user.policy.holder import Holder
    from ci_user.policy.statement import parse

    seconds = []
    verdict = ""
    for _ in range(runs):
        _cleared()
        began = time.perf_counter()
        statements = tuple(one for number, text in enumerate(texts) for one in parse(text, f"policy {number}"))
        verdict = escalation(Holder(statements)).verdict
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000, verdict


def main() -> None:
    """Measure and print one line for each figure."""
    # The first judgement of a process unpacks the catalogue's services: that counts as import.
    _measured([_filled(_wild, 0)], runs=1)
    for kind in (_named, _wild, _conditional):
        one, verdict = _measured([_filled(kind, 1)])
        many, of_many = _measured([_filled(kind, seed) for seed in range(20)], runs=3)
        print(
            f"{kind.__name__[1:]:12} one policy {one:6.0f} ms ({verdict}; under 100), "
            f"twenty {many:6.0f} ms ({of_many}; under 1,000)"
        )
    sample = (ROOT / "terraform" / "policies" / "sample.json").read_text()
    shipped = (ROOT / "terraform" / "policies" / "serverless.json").read_text().replace("${account_id}", "123456789012")
    for name, text in (("sample", sample), ("serverless", shipped)):
        one, verdict = _measured([text])
        print(f"{name:12} one policy {one:6.0f} ms ({verdict})")
    wall = []
    for _ in range(5):
        began = time.perf_counter()
        command = [sys.executable, "-m", "invoke", "policy.lint", "--file", "terraform/policies/sample.json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        wall.append(time.perf_counter() - began)
        if done.returncode != 3:
            sys.exit(done.stderr.decode())
    print(f"policy.lint of the sample, whole process: {statistics.median(wall):.2f} s; under 1.5")


if __name__ == "__main__":
    main()
