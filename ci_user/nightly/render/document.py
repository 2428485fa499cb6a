"""A night as a JSON document, its JSON Schema, and the way back: what one job writes is what another one joins."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError

from ci_user.errors import UsageError
from ci_user.nightly.model import NightResult, schema
from ci_user.nightly.render.counts import VERDICTS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FILE: Final = "docs/nightly.schema.json"
_SAID_TOO: Final = ("exit_code", "verdict")
"""In the document for those who read it without the model; the model works them out."""


def document(result: NightResult) -> dict[str, Any]:
    """Return a run as JSON values, with each environment's and its own verdict and exit code."""
    dumped = result.model_dump(mode="json")
    environments = [
        {"environment": one["environment"], **_said(known.exit_code), **one}
        for known, one in zip(result.environments, dumped["environments"], strict=True)
    ]
    return {"schema_version": result.schema_version, **_said(result.exit_code), **dumped, "environments": environments}


def text(result: NightResult) -> str:
    """Return a run as JSON text in ASCII, in which nothing steers a terminal or, as ``##[`` does, a GitHub runner."""
    written = json.dumps(document(result), indent=2, allow_nan=False)
    return written.replace("##[", "##\\u005b") + "\n"


def read(written: str | bytes, where: str) -> NightResult:
    """Return the run that `text` wrote; verdicts are worked out again and never believed.

    Args:
        written: The text.
        where: Where it is from, for the error.

    Raises:
        UsageError: It is no such document.
    """
    try:
        loaded = json.loads(written)
        whole = _without(loaded)
        if isinstance(whole.get("environments"), list):
            whole["environments"] = [_without(one) for one in whole["environments"]]
        return NightResult.model_validate(whole)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        what = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except RecursionError:
        what = "it is nested too deeply"
    except (ValueError, AttributeError) as error:
        what = "it is no JSON object" if isinstance(error, AttributeError) else f"it is no JSON: {error}"
    raise UsageError(
        f"this is no result of a nightly check: {what}",
        where=where,
        expected=f"results.json as `invoke check --out` writes it ({SCHEMA_FILE})",
        do="write it again with this version of the tool",
    )


def schema_text() -> str:
    """Return the document's JSON Schema (draft 2020-12), as ``docs/nightly.schema.json`` holds it."""
    whole = schema()
    said = {
        "exit_code": {"enum": sorted(VERDICTS), "type": "integer"},
        "verdict": {"enum": list(VERDICTS.values()), "type": "string"},
    }
    for part in (whole, whole["$defs"]["EnvironmentResult"]):
        part["properties"] |= said
        part["required"] = [*part["required"], *said]
    return json.dumps({"$schema": DIALECT, **whole}, indent=2) + "\n"


def _said(exit_code: int) -> dict[str, Any]:
    return {"verdict": VERDICTS[exit_code], "exit_code": exit_code}


def _without(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in _SAID_TOO}
