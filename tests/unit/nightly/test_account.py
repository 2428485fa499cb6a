"""An account is read once, page by page, whoever asks; what nobody can ask for is not kept."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ci_user.errors import AwsError
from ci_user.nightly.account import AccountReading, Readings
from ci_user.nightly.facts_model import LentRole, Unread

CREATED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
START = "arn:aws:iam::000000000000:policy"
DOCUMENT = {"Version": "2012-10-17", "Statement": []}
DATE = {"ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 01:02:03 GMT"}}}


def refusal(code: str = "AccessDenied", status: int = 403) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")


def user(
    name: str, *, groups: tuple[str, ...] = (), boundary: str = "", attached: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "UserName": name,
        "CreateDate": CREATED,
        "GroupList": list(groups),
        "AttachedManagedPolicies": [{"PolicyArn": arn} for arn in attached],
        **({"PermissionsBoundary": {"PermissionsBoundaryArn": boundary}} if boundary else {}),
    }


def group(name: str, *attached: str) -> dict[str, Any]:
    return {"GroupName": name, "AttachedManagedPolicies": [{"PolicyArn": arn} for arn in attached]}


def policy(name: str, **more: Any) -> dict[str, Any]:
    versions = [
        {"VersionId": "v1", "IsDefaultVersion": False, "Document": {"old": "rights"}},
        {"VersionId": "v2", "IsDefaultVersion": True, "Document": DOCUMENT},
    ]
    return {
        "PolicyName": name,
        "Arn": f"{START}/{name}",
        "DefaultVersionId": "v2",
        "PolicyVersionList": versions,
        **more,
    }


class Account:
    """AWS as far as an account is read: pages, single policies, functions and stacks; counts what it is asked."""

    account_id = "000000000000"
    region = "eu-west-1"
    endpoint_url = None
    login = "login"

    def __init__(self, *pages: Mapping[str, Any]) -> None:
        self.pages = pages or ({},)
        self.answers: dict[str, Any] = {"list_functions": [{"Functions": []}], "describe_stacks": [{"Stacks": []}]}
        self.asked: list[str] = []
        self.exceptions = type("Exceptions", (), {"NoSuchEntityException": KeyError})

    def client(self, _: str) -> Account:
        return self

    def at(self, **_: str) -> Account:
        return self

    def get_paginator(self, operation: str) -> Any:
        return type("Paginator", (), {"paginate": lambda _, **asked: self._paginate(operation, asked)})()

    def _paginate(self, operation: str, asked: Mapping[str, Any]) -> Iterator[Any]:
        self.asked.append(operation)
        if operation == "get_account_authorization_details":
            assert set(asked["Filter"]) == {"User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"}
            for page in self.pages:
                if isinstance(page, Exception):
                    raise page
                yield {**DATE, **page}
            return
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    def get_policy(self, **asked: str) -> Any:
        self.asked.append("get_policy")
        answer = self.answers[asked["PolicyArn"]]
        if isinstance(answer, Exception):
            raise answer
        return {"Policy": answer}

    def get_policy_version(self, **asked: str) -> Any:
        self.asked.append("get_policy_version")
        return {"PolicyVersion": {"VersionId": asked["VersionId"], "IsDefaultVersion": True, "Document": DOCUMENT}}


def reading(account: Account, *prefixes: str) -> AccountReading:
    access: Any = account
    return AccountReading(access, prefixes or None)


def test_all_pages_are_read_once_for_all_threads() -> None:
    account = Account(
        {"GroupDetailList": [group("people", f"{START}/people")], "Policies": [policy("people")]},
        {"UserDetailList": [user("shop-prod.ci", groups=("people",))]},
        {"UserDetailList": [user("shop-test.ci")]},
    )
    one = reading(account)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: one.details, range(8)))
    assert len({id(details) for details in found}) == 1
    assert account.asked == ["get_account_authorization_details"]
    assert set(found[0].users) == {"shop-prod.ci", "shop-test.ci"}
    # The group came before its member was known.
    assert set(found[0].groups) == {"people"}
    assert found[0].members == {}
    assert set(found[0].policies) == {f"{START}/people"}
    assert found[0].now == dt.datetime(2026, 11, 24, 1, 2, 3, tzinfo=dt.UTC)


def test_what_no_environment_can_ask_for_is_not_kept() -> None:
    account = Account(
        {
            "UserDetailList": [
                user("somebody", attached=(f"{START}/theirs",), groups=("theirs", "shop-prod.ci")),
                user("shop-prod.ci", boundary=f"{START}/b", groups=("shop-prod.ci",)),
            ],
            "GroupDetailList": [group("theirs", f"{START}/theirs"), group("shop-prod.ci")],
            "RoleDetailList": [
                {"RoleName": "shop-prod-api"},
                {"RoleName": "shopping"},
                {"RoleName": "admin", "Path": "/shop-prod-x/"},
                {"RoleName": "other", "Path": "/x/shop-prod-x/"},
            ],
            "Policies": [policy("theirs"), policy("b"), policy("shop-prod.policy-sample")],
        }
    )
    found = reading(account, "shop-prod").details
    assert set(found.users) == {"shop-prod.ci"}
    assert set(found.groups) == {"shop-prod.ci"}
    assert set(found.roles) == {"shop-prod-api", "admin"}
    assert set(found.policies) == {f"{START}/b", f"{START}/shop-prod.policy-sample"}
    assert found.own == {"shop-prod": (f"{START}/shop-prod.policy-sample",)}
    assert found.members == {"shop-prod.ci": ("shop-prod.ci", "somebody")}
    assert "old" not in found.policies[f"{START}/b"]
    versions = json.loads(found.policies[f"{START}/b"])["PolicyVersionList"]
    assert {one["VersionId"] for one in versions} == {"v1", "v2"}


def test_counts_are_kept_of_policies_that_terraform_made_and_of_no_other() -> None:
    counts = {"AttachmentCount": 1, "PermissionsBoundaryUsageCount": 2}
    own, other = "shop-prod.policy-sample", "people"
    account = Account(
        {
            "UserDetailList": [user("shop-prod.ci", attached=(f"{START}/{other}",))],
            "Policies": [policy(own, **counts), policy(other, **counts)],
        }
    )
    policies = reading(account).details.policies
    assert "AttachmentCount" in policies[f"{START}/{own}"]
    assert "Count" not in policies[f"{START}/{other}"]
    assert "PermissionsBoundaryUsageCount" not in policies[f"{START}/{own}"]


def test_a_policy_that_the_details_leave_out_is_asked_for_once() -> None:
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    account = Account()
    account.answers[arn] = {"PolicyName": "ReadOnlyAccess", "DefaultVersionId": "v9", "AttachmentCount": 7}
    one = reading(account)
    texts = {one.policy(arn) for _ in range(3)}
    assert account.asked == ["get_account_authorization_details", "get_policy", "get_policy_version"]
    (text,) = texts
    assert json.loads(str(text))["PolicyVersionList"][0]["Document"] == DOCUMENT
    assert "AttachmentCount" not in str(text)


def test_a_policy_that_is_not_there_and_one_that_is_refused_are_told_apart() -> None:
    account = Account()
    account.answers |= {"gone": KeyError(), "closed": refusal()}
    one = reading(account)
    assert one.policy("gone") is None
    assert one.policy("closed") == Unread(
        "the policy closed", "iam:GetPolicy and iam:GetPolicyVersion", "AccessDenied: no"
    )


def test_functions_and_stacks_are_listed_once_per_region_and_a_refusal_is_no_failure() -> None:
    account = Account()
    account.answers["list_functions"] = [
        {"Functions": [{"FunctionName": "shop-prod-api", "Role": "r"}]},
        {"Functions": [{"FunctionName": "other", "Role": "r"}]},
    ]
    account.answers["describe_stacks"] = refusal("AccessDenied", 400)
    one, access = reading(account, "shop-prod"), account
    for _ in range(2):
        found, unread = one.lent(access)  # type: ignore[arg-type]
    assert found == (LentRole("function", "shop-prod-api", "r"),)
    assert [(each.things, each.needed) for each in unread] == [("stacks", "cloudformation:DescribeStacks")]
    assert account.asked == ["list_functions", "describe_stacks"]


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException", 400),
        refusal("ServiceFailure", 500),
        refusal("ExpiredToken", 403),
        EndpointConnectionError(endpoint_url="https://lambda"),
    ],
    ids=["throttled", "failed", "logged out", "no network"],
)
def test_no_answer_is_a_failure_and_no_refusal(error: Exception) -> None:
    account = Account()
    account.answers["list_functions"] = error
    with pytest.raises(AwsError):
        reading(account).lent(account)  # type: ignore[arg-type]


def test_an_account_that_cannot_be_read_is_asked_once_and_fails_for_everybody() -> None:
    account = Account({}, refusal())  # type: ignore[arg-type]
    one = reading(account)
    for _ in range(3):
        with pytest.raises(AwsError, match="account 000000000000: AWS answered AccessDenied"):
            _ = one.details
    assert len(account.asked) == 1


def test_each_account_and_login_has_a_reading_of_its_own() -> None:
    readings = Readings()
    one: Any = Account()
    same: Any = Account()
    other: Any = Account()
    other.login = "another"
    assert readings.of(one) is readings.of(same)
    assert readings.of(one) is not readings.of(other)
