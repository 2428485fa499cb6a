"""AWS partitions: which regions and ARNs belong to which."""

from __future__ import annotations

import re

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from ci_user.environment_fields import REGION_PATTERN, Problem, expected


def fitting_region(region: str, partition: str | None) -> str:
    """Return `region`.

    Raises:
        pydantic_core.PydanticCustomError: when it lies in another partition.
    """
    belongs = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(re.split(r"-(?!gov)", region, maxsplit=1)[0], "aws")
    if partition is not None and belongs != partition:
        raise expected(f"a region of partition {partition} (this one would be in {belongs})")
    return region


def misfits(part: BaseModel | None, partition: str | None) -> list[Problem]:
    """Find regions and ARNs of another partition anywhere in a part of the environment."""
    problems: list[Problem] = []
    if part is None or partition is None:
        return problems
    for key in type(part).model_fields:
        value = getattr(part, key)
        if isinstance(value, BaseModel):
            problems += [((key, *place), text, found) for place, text, found in misfits(value, partition)]
        elif isinstance(value, str) and value.startswith("arn:") and value.split(":")[1] != partition:
            problems.append(((key,), f"an ARN of partition {partition}, arn:{partition}:...", value))
        elif key == "region" and isinstance(value, str) and re.fullmatch(REGION_PATTERN, value):
            # Anything else of that name is no region: how a variable with the region is called, for one.
            try:
                fitting_region(value, partition)
            except PydanticCustomError as error:
                problems.append(((key,), error.message(), value))
    return problems
