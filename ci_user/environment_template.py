"""What `invoke new` writes: an environment file that explains itself."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ci_user import naming
from ci_user.durations import format_duration
from ci_user.environment import Environment
from ci_user.environment_fields import inside
from ci_user.environment_files import FOLDER, PLACEHOLDER, load_all
from ci_user.environment_yaml import shown
from ci_user.errors import EnvironmentFileError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_ACCEPTED_FOR: Final = timedelta(days=180)

_TEXT: Final = """\
# yaml-language-server: $schema=schema.json
# The environment @NAME@. Its name is the name of this file. No secret belongs in here.

# The version of this file's format.
version: 1

# The application. With the environment it starts every name: @APPLICATION@-@NAME@.
application: @APPLICATION@

# The account, 12 digits in quotes. Credentials of any other account are refused.
account_id: "@ACCOUNT@"

# The region that the pipeline deploys to.
region: @REGION@

# aws, aws-us-gov or aws-cn; must fit the region.
partition: @PARTITION@

# true: deploy and destroy want the environment's name typed, or an approved plan.
protected: false

# How to get into the account: a named profile, a role to assume, or both. Without this: ambient credentials.
# access:
#   profile: my-profile
#   role:
#     arn: arn:@PARTITION@:iam::111111111111:role/ci-user-deployer
#     external_id: what-the-trust-policy-asks-for
#     session_name: ci-user

# How `invoke check` gets in, with a login that may only read (docs/nightly.md). Without this: as `access`; {} is ambient.
# check_access:
#   role:
#     arn: arn:@PARTITION@:iam::111111111111:role/ci-user-nightly

# What the pipeline may do. Policies of terraform/policies, without .json, and your own: files and directories, relative to the
# repository's root or to environments/, and existing managed policies. They are packed into as few managed policies as fit.
policies:
  - serverless
  # - file: policies/extra.json
  # - directory: policies/@APPLICATION@
  # - arn: arn:@PARTITION@:iam::aws:policy/AWSCloudFormationReadOnlyAccess

# Where Terraform's state and the lease live. `invoke bootstrap --env @NAME@` makes the bucket.
state:
  bucket: @BUCKET@
  # The object's key, in a folder of its own.
  # key: @APPLICATION@/@NAME@/terraform.tfstate
  # The bucket's region and account, and how to get there, when they are not those above.
  # region: @REGION@
  # account_id: "111111111111"
  # access: {profile: my-profile}
  # The KMS key (its ARN, not an alias) for state and lease. Without it S3 encrypts with its own.
  # kms_key: arn:@PARTITION@:kms:@REGION@:111111111111:key/00000000-0000-0000-0000-000000000000

# Where the access key is delivered to. Where no backend can be read back, a stage in Secrets Manager is made and kept.
secrets:
  - backend: aws-secrets-manager
    name: ci-user/@APPLICATION@/@NAME@

# Tags on everything that is made, at most 40.
# tags:
#   team: platform

# The lease that keeps two runs apart, 30s to 15m; a run renews it while it works.
lock: {ttl: @TTL@}

# A new key counts as working after so many calls in a row; after the deadline the run gives up.
# IAM's lists may run behind by lag: an interrupted run is waited for so long before another key is made.
verification: {successes: @SUCCESSES@, interval: @INTERVAL@, deadline: @DEADLINE@, lag: @LAG@}

# When `invoke rotate`, run every night, renews a key, and when the old one goes. It stays active for the grace and for margin,
# and longer if it was used later than margin after its successor was delivered; then it is inactive while it soaks, and can be
# reactivated; then it is deleted. One that is still in use after expire_after is a finding, and is not cut off.
rotation: {rotate_after: @ROTATE_AFTER@, grace: @GRACE@, margin: @MARGIN@, soak: @SOAK@, expire_after: @EXPIRE_AFTER@}

# Every act on a key as one JSON line, in a file; with bucket: true also next to the state.
audit: {file: @AUDIT_FILE@, bucket: false}

# The longest that one Terraform command may take.
timeout: @TIMEOUT@

# Findings of the scan that may stay. Each needs a reason, an owner and a last day, at most 365 days away. These come from what
# this tool makes for everybody and from the policy above; docs/policies.md explains each.
accepted_findings:
  - check: CKV_AWS_273
    resource: module.ci_user.aws_iam_user.this
    reason: The CI system cannot log in through OIDC, so it needs a user with keys.
    owner: platform
    expires: @EXPIRES@
  - check: CKV_AWS_290
    resource: module.ci_policy["serverless"].aws_iam_policy.this
    reason: What is left on every resource makes something new that has no name yet and knows no tags.
    owner: platform
    expires: @EXPIRES@
  - check: [CKV_AWS_287, CKV_AWS_289, CKV_AWS_290, CKV_AWS_355]
    resource: module.ci_user.aws_iam_policy.boundary
    reason: A boundary limits and never grants, but these checks read it as if it granted.
    owner: platform
    expires: @EXPIRES@

# What somebody else changes in AWS and may stay so, by attribute: the nightly check shows it as accepted until the last day. What
# decides what the user may do (its boundary, policies, groups and what is attached) is not acceptable.
# known_drift:
#   - resource: module.ci_user.aws_iam_user.this
#     attributes: [tags]
#     reason: The cost centre's tag is set by the account's own automation.
#     owner: platform
#     expires: @EXPIRES@
"""


def template(
    name: str,
    application: str = "my-app",
    account_id: str = PLACEHOLDER,
    region: str = "eu-west-1",
    bucket: str = PLACEHOLDER,
    partition: str = "aws",
    *,
    today: date | None = None,
) -> str:
    """Return a commented environment file, valid as soon as account and bucket are filled in.

    Its findings are accepted for half a year from ``today`` on, by default the current day in UTC.
    """
    fields = Environment.model_fields
    lock, verification = fields["lock"].default, fields["verification"].default
    rotation, audit = fields["rotation"].default, fields["audit"].default
    values = {
        "NAME": name,
        "APPLICATION": application,
        "ACCOUNT": account_id,
        "REGION": region,
        "BUCKET": bucket,
        "PARTITION": partition,
        "EXPIRES": ((today or datetime.now(UTC).date()) + _ACCEPTED_FOR).isoformat(),
        "TTL": format_duration(lock.ttl),
        "SUCCESSES": str(verification.successes),
        "INTERVAL": format_duration(verification.interval),
        "DEADLINE": format_duration(verification.deadline),
        "LAG": format_duration(verification.lag),
        "ROTATE_AFTER": format_duration(rotation.rotate_after),
        "GRACE": format_duration(rotation.grace),
        "MARGIN": format_duration(rotation.margin),
        "SOAK": format_duration(rotation.soak),
        "EXPIRE_AFTER": format_duration(rotation.expire_after),
        "AUDIT_FILE": audit.file,
        "TIMEOUT": format_duration(fields["timeout"].default),
    }
    text = _TEXT
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def write_new(name: str, root: Path, *, today: date | None = None) -> Path:
    """Write ``environments/NAME.yaml`` and return its path.

    Application, region and partition are those of the files that exist, where these agree.

    Raises:
        UsageError: `name` cannot be the name of an environment, or the file exists: it is never overwritten.
        EnvironmentFileError: the file cannot be written.
    """
    if not naming.is_name(name, naming.ENVIRONMENT_LENGTH):
        raise UsageError(
            f"{shown(name)} cannot be the name of an environment",
            where="--env",
            expected=f"lower case letters, digits and single hyphens, at most {naming.ENVIRONMENT_LENGTH}",
        )
    text = template(name, **_neighbours(root), today=today)
    where = f"{FOLDER}/{name}.yaml"
    try:
        folder = inside(root, FOLDER)
        if not folder.is_dir():
            folder.mkdir()
        path = folder / f"{name}.yaml"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
                file.write(text)
        except OSError:
            # Half a file would stop every other environment too.
            path.unlink()
            raise
    except FileExistsError:
        if not folder.is_dir():
            raise EnvironmentFileError(f"{where} cannot be written: {FOLDER} is a file", where=FOLDER) from None
        raise UsageError(
            f"{where} exists and is not overwritten",
            where="--env",
            do="choose another name, or edit that file",
        ) from None
    except (OSError, ValueError) as error:
        raise EnvironmentFileError(
            f"{where} cannot be written: {getattr(error, 'strerror', None) or error}", where=where
        ) from None
    return path


def _neighbours(root: Path) -> dict[str, str]:
    """Return what all existing environments agree on; nothing while one of them is broken."""
    try:
        existing = load_all(root).values()
    except EnvironmentFileError:
        return {}
    return {
        key: values.pop()
        for key in ("application", "region", "partition")
        if len(values := {getattr(one, key) for one in existing}) == 1
    }
