"""AWS's own opinion of a policy: IAM Access Analyzer's ValidatePolicy, as findings like lint's.

It creates nothing, needs no analyzer, and costs nothing; the caller needs ``access-analyzer:ValidatePolicy``.
https://docs.aws.amazon.com/access-analyzer/latest/APIReference/API_ValidatePolicy.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_user.errors import AwsError
from ci_user.policy import documents, lint_place
from ci_user.policy.lint_finding import Defect, LintFinding, Severity
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess

# A kind that AWS adds some day counts as the worst one until somebody has looked at it.
_SEVERITIES: Final[Mapping[str, Severity]] = {
    "ERROR": "error",
    "SECURITY_WARNING": "warning",
    "WARNING": "warning",
    "SUGGESTION": "note",
}
_SHOWN: Final = 600


def validate(
    document: Mapping[str, Any], access: AwsAccess, where: str = "policy", path: Path | None = None
) -> tuple[LintFinding, ...]:
    """Ask AWS to validate an identity policy.

    Args:
        document: The rendered policy.
        access: Whose account and region are asked.
        where: What to call the policy for people.
        path: The file it comes from, when lines are to be told.

    Returns:
        AWS's findings in its order, with ids such as ``aws-pass-role-with-star-in-resource``.

    Raises:
        AwsError: AWS refused, did not answer, or something else did in its place.
    """
    entries = lint_place.entries(document)
    known = lint_place.positions(path, len(entries))
    findings = []
    for one in _ask(documents.canonical(document), access):
        number, way = _place(one.get("locations") or [])
        defect = Defect(
            f"aws-{re.sub(r'[^a-z0-9]+', '-', str(one.get('issueCode', 'unknown')).lower())}",
            _SEVERITIES.get(str(one.get("findingType")), "error"),
            plain(one.get("findingDetails", "AWS gives no details"), _SHOWN),
            f"see {plain(one.get('learnMoreLink', 'AWS gives no link'), _SHOWN)}",
            way,
        )
        inside = number is not None and number <= len(entries)
        entry = entries[number - 1] if inside and number is not None else document
        findings.append(lint_place.placed(defect, where, known, number if inside else None, entry))
    return tuple(findings)


def _ask(text: str, access: AwsAccess) -> list[Mapping[str, Any]]:
    from botocore.parsers import ResponseParserError

    from ci_user.credentials import calling

    doing = "validate the policy with IAM Access Analyzer"
    client = access.client("accessanalyzer")
    with calling(doing, do="allow access-analyzer:ValidatePolicy, or lint without --aws"):
        pages = client.get_paginator("validate_policy").paginate(
            policyDocument=text, policyType="IDENTITY_POLICY", locale="EN"
        )
        try:
            # botocore takes a web page that came with status 200 for an answer without findings, and trips over other JSON.
            found = [page.get("findings") for page in pages]
        except (ResponseParserError, AttributeError, TypeError, ValueError):
            found = [None]
    if None in found:
        raise AwsError(
            f"{doing}: what answered in place of AWS is not AWS",
            where=str(client.meta.endpoint_url),
            do="check network, proxy and endpoint_url, or lint without --aws",
            runbook="aws-refused-a-call",
        )
    return [one for page in found for one in page]


def _place(locations: Sequence[Mapping[str, Any]]) -> tuple[int | None, tuple[str | int, ...]]:
    """Return the statement's number and the way on from there; AWS's first location is the defect's."""
    steps: list[str | int] = []
    for step in locations[0].get("path", []) if locations else []:
        found = step.get("index", step.get("key", step.get("value")))
        if not isinstance(found, str | int):
            break
        steps.append(found)
    if len(steps) > 1 and steps[0] == "Statement" and isinstance(steps[1], int):
        return steps[1] + 1, tuple(steps[2:])
    if len(steps) > 1 and steps[0] == "Statement":
        return 1, tuple(steps[1:])
    return None, tuple(steps)
