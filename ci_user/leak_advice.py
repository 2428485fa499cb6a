"""What to look at in CloudTrail after a leak, in the words of its own command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci_user.environment import Environment

_MADE = "CreateAccessKey CreateUser CreateRole UpdateAssumeRolePolicy UpdateFunctionCode UpdateStack GetSessionToken"


def next_steps(environment: Environment, key_ids: Sequence[str]) -> tuple[str, ...]:
    """Return what to look at next, in order.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events-cli.html : 90 days of management events, one
    region at a time.
    """
    looks = tuple(
        "everything that the key did, in each region that is in use: aws cloudtrail lookup-events --region"
        f" {environment.region} --lookup-attributes AttributeKey=AccessKeyId,AttributeValue={key_id}"
        for key_id in key_ids
    )
    return (
        *looks,
        f"the same for its sessions: AttributeKey=Username,AttributeValue={environment.user_name}",
        f"above all: {_MADE}; and from which addresses (sourceIPAddress)",
        "what is no management event, such as reads of S3 objects, only in a trail or in S3's access logs",
        f"what it could reach: invoke policy.show --env {environment.name}",
        "how the key got out: the pipeline's logs, artifacts and caches, forks, third-party actions",
    )
