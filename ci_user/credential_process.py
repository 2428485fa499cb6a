"""Prints the state's credentials for Terraform's S3 backend, from the child environment, so that they touch no file.

Run by the AWS SDK through ``credential_process`` of a profile that ``terraform_cli.py`` writes:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
"""

import json
import os
import sys


def main() -> None:
    """Print the JSON document of the credential_process protocol, version 1."""
    names = {
        "AccessKeyId": "CI_USER_STATE_AWS_ACCESS_KEY_ID",
        "SecretAccessKey": "CI_USER_STATE_AWS_SECRET_ACCESS_KEY",
        "SessionToken": "CI_USER_STATE_AWS_SESSION_TOKEN",
    }
    found = {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}
    json.dump({"Version": 1, **found}, sys.stdout)


if __name__ == "__main__":
    main()
