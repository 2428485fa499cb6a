"""Templates for lint: the project's parameters filled in with values that could be anybody's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ci_user.policy import documents

_PARAMETER: Final = re.compile(r"\$\{[a-z_]+\}")

SAMPLES: Final[Mapping[str, str | Sequence[str]]] = {
    "account_id": "123456789012",
    "application": "shop",
    "environment": "prod",
    "partition": "aws",
    "prefix": "shop-prod",
    "region": "eu-west-1",
    "state_bucket_arns": ("arn:aws:s3:::shop-state", "arn:aws:s3:::shop-state/*"),
    "guarded_secret_arns": ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-keys-??????",),
    "guarded_parameter_arns": ("arn:aws:ssm:eu-west-1:123456789012:parameter/shop/keys/*",),
    "guarded_path_arns": ("arn:aws:ssm:eu-west-1:123456789012:parameter/shop",),
    "guarded_kms_arns": ("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",),
    "state_account_id": "123456789012",
    "state_buckets": ("arn:aws:s3:::shop-state",),
    "state_objects": ("arn:aws:s3:::shop-state/shop/prod/*",),
    "state_kms_arns": ("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",),
    "kms_arns": ("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",),
    "secret_arns": ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-keys-??????",),
    "parameter_arns": ("arn:aws:ssm:eu-west-1:123456789012:parameter/shop/keys",),
    "attached_arns": ("arn:aws:iam::123456789012:policy/team/extra",),
}
"""A value for every parameter that a shipped document may use: those of `documents.parameters`, and the lists of `guard` and
`operators`."""


def rendered(document: documents.Document) -> documents.Document:
    """Return the document with plausible values for its parameters; as it is when it has none.

    Raises:
        PolicyError: It has a parameter that this project does not know.
    """
    if not _PARAMETER.search(documents.canonical(document)):
        return document
    return documents.render(document, SAMPLES)
