"""Rotation, redelivery, reactivation and the answer to a leak, as a user types them: real processes, Terraform, and an AWS
that evaluates IAM policies."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import revocation
from ci_user.secret import Secret
from tests.project import Done, Project
from tests.proxy import Answer, Request
from tests.zygote import Zygote

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(600)

AT_ONCE = {"grace": "0s", "margin": "0s", "soak": "0s", "expire_after": "0s"}


@pytest.fixture(scope="module")
def deployed(new_project: NewProject) -> Project:
    """A project whose environment is deployed; each test begins with one delivered key and may leave others."""
    made = new_project(f"key{uuid.uuid4().hex[:8]}")
    assert made.invoke("bootstrap", "--env", "testing", "--yes").code == 0
    done = made.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    return made


@pytest.fixture(scope="module")
def keeping(deployed: Project) -> Iterator[Zygote]:
    """The key work of a deploy, without its Terraform."""
    zygote = Zygote(deployed.root, deployed.environ)
    yield zygote
    zygote.close()


@pytest.fixture
def project(deployed: Project, keeping: Zygote, aws: EmbeddedAws) -> Iterator[Project]:
    """The project with one delivered key, no deny, and nothing recorded or broken."""
    deployed.proxy.clear()
    deployed.write()
    iam = aws.client("iam")
    for name in iam.list_user_policies(UserName=user(deployed))["PolicyNames"]:
        iam.delete_user_policy(UserName=user(deployed), PolicyName=name)
    for policy in iam.list_attached_user_policies(UserName=user(deployed))["AttachedPolicies"]:
        iam.detach_user_policy(UserName=user(deployed), PolicyArn=policy["PolicyArn"])
    for key in listed(deployed, aws):
        iam.delete_access_key(UserName=user(deployed), AccessKeyId=key["AccessKeyId"])
    ended = keeping.run("deploy", env="testing")
    assert ended.code == 0, ended.text
    deployed.proxy.clear()
    yield deployed
    deployed.proxy.clear()


def user(project: Project) -> str:
    return f"{project.base['application']}-testing.ci"


def secret_name(project: Project) -> str:
    return f"ci-user/{project.base['application']}/testing"


def listed(project: Project, aws: EmbeddedAws) -> list[Any]:
    keys: list[Any] = aws.client("iam").list_access_keys(UserName=user(project))["AccessKeyMetadata"]
    return sorted(keys, key=lambda key: (key["CreateDate"], key["AccessKeyId"]))


def states(project: Project, aws: EmbeddedAws) -> dict[str, str]:
    return {key["AccessKeyId"]: key["Status"] for key in listed(project, aws)}


def held(project: Project, aws: EmbeddedAws) -> dict[str, str]:
    answer = aws.client("secretsmanager").get_secret_value(SecretId=secret_name(project))
    document: dict[str, str] = json.loads(answer["SecretString"])
    return document


def works(aws: EmbeddedAws, document: dict[str, str]) -> bool:
    from ci_user.errors import CredentialsError

    try:
        aws.access.with_key(document["AWS_ACCESS_KEY_ID"], Secret(document["AWS_SECRET_ACCESS_KEY"])).caller()
    except CredentialsError:
        return False
    return True


def run(project: Project, task: str, *flags: str) -> Done:
    return project.invoke(task, "--env", "testing", *flags)


def used(key_id: str, at: str) -> Callable[[Request], Answer | None]:
    """Answer the question for a key's last use, which the embedded AWS never fills in."""
    body = (
        "<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>x</UserName><AccessKeyLastUsed>"
        f"<LastUsedDate>{at}</LastUsedDate><ServiceName>s3</ServiceName><Region>eu-north-1</Region>"
        "</AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>"
    )

    def answer(request: Request) -> Answer | None:
        if request.action == "GetAccessKeyLastUsed" and key_id.encode() in request.body:
            return Answer(200, body.encode(), headers=(("Content-Type", "text/xml"),))
        return None

    return answer


def test_a_key_that_is_not_due_is_left_alone(project: Project, aws: EmbeddedAws) -> None:
    before = held(project, aws)
    done = run(project, "rotate")
    assert done.code == 0, done.text
    assert f"nothing to do ({before['AWS_ACCESS_KEY_ID']} is in place)" in done.out
    assert held(project, aws) == before
    assert [r.action for r in project.proxy.changing if "lease.json" not in r.path] == []


def test_a_rotation_leaves_the_old_key_active_for_its_grace_then_inactive_then_deleted(
    project: Project, aws: EmbeddedAws
) -> None:
    old = held(project, aws)
    done = run(project, "rotate", "--force", "--json")
    assert done.code == 0, done.text
    report = done.json()
    new = held(project, aws)
    assert new["AWS_ACCESS_KEY_ID"] == report["key_id"] != old["AWS_ACCESS_KEY_ID"]
    assert works(aws, old)
    assert works(aws, new)
    assert report["old_keys"][0]["id"] == old["AWS_ACCESS_KEY_ID"]
    assert "in its grace until" in report["old_keys"][0]["why"]
    # Again: nothing more, because there is no room, and it says so.
    again = run(project, "rotate", "--force")
    assert again.code == 0, again.text
    assert "in its grace until" in again.out
    assert "is not renewed now" in again.out
    assert set(states(project, aws).values()) == {"Active"}
    project.write(rotation={**AT_ONCE, "soak": "1d"})
    assert run(project, "rotate").code == 0
    assert states(project, aws)[old["AWS_ACCESS_KEY_ID"]] == "Inactive"
    assert not works(aws, old)
    project.write(rotation=AT_ONCE)
    assert run(project, "rotate").code == 0
    assert list(states(project, aws)) == [new["AWS_ACCESS_KEY_ID"]]
    assert held(project, aws) == new


def test_an_old_key_that_is_still_in_use_is_told_with_service_and_region_and_never_cut_off(
    project: Project, aws: EmbeddedAws
) -> None:
    old = held(project, aws)
    assert run(project, "rotate", "--force").code == 0
    project.write(rotation={**AT_ONCE, "margin": "0s"})
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    project.proxy.before = used(old["AWS_ACCESS_KEY_ID"], later)
    done = run(project, "rotate")
    assert done.code == 3, done.text
    assert "STILL IN USE" in done.out
    assert "s3, eu-north-1" in done.out
    assert works(aws, old)
    project.proxy.before = lambda _: None
    assert run(project, "rotate").code == 0
    assert old["AWS_ACCESS_KEY_ID"] not in states(project, aws)


def test_now_skips_grace_and_soak_says_what_breaks_and_wants_to_be_confirmed(
    project: Project, aws: EmbeddedAws
) -> None:
    old = held(project, aws)
    refused = run(project, "rotate", "--now")
    assert refused.code == 1
    assert "not confirmed" in refused.err
    assert old["AWS_ACCESS_KEY_ID"] in refused.out
    assert "fails at its next call" in refused.out
    assert held(project, aws) == old
    done = run(project, "rotate", "--now", "--yes")
    assert done.code == 0, done.text
    new = held(project, aws)
    assert states(project, aws) == {new["AWS_ACCESS_KEY_ID"]: "Active"}
    assert new != old


def test_a_deactivation_that_broke_something_is_undone(project: Project, aws: EmbeddedAws) -> None:
    old = held(project, aws)
    project.write(rotation={**AT_ONCE, "soak": "1d"})
    assert run(project, "rotate", "--force").code == 0
    assert not works(aws, old)
    nobody = run(project, "reactivate")
    assert nobody.code == 1
    done = run(project, "reactivate", "--yes")
    assert done.code == 0, done.text
    assert works(aws, old)
    project.write()
    waiting = run(project, "rotate", "--json").json()
    assert waiting["old_keys"][0]["id"] == old["AWS_ACCESS_KEY_ID"]
    assert "in its grace" in waiting["old_keys"][0]["why"]
    again = run(project, "reactivate", "--yes")
    assert again.code == 1
    assert "no key of ours is inactive" in again.err


def test_the_key_is_delivered_once_more_to_a_place_that_lost_it_and_none_is_made(
    project: Project, aws: EmbeddedAws
) -> None:
    before = held(project, aws)
    file = project.root / ".cache" / "testing.env"
    file.unlink()
    done = run(project, "redeliver")
    assert done.code == 0, done.text
    assert before["AWS_SECRET_ACCESS_KEY"] in file.read_text()
    quiet = run(project, "redeliver")
    assert "every place holds the key" in quiet.out
    wrong = run(project, "redeliver", "--to", "github")
    assert wrong.code == 1
    assert "delivers to no github" in wrong.err
    again = run(project, "redeliver", "--to", "dotenv")
    assert again.code == 0, again.text
    assert list(states(project, aws)) == [before["AWS_ACCESS_KEY_ID"]]


def test_a_changed_file_moves_the_key_to_new_places_and_empties_the_old_ones_in_a_confirmed_deploy_only(
    project: Project, aws: EmbeddedAws
) -> None:
    before = held(project, aws)
    name = f"/ci-user/{project.base['application']}/testing"
    project.write(secrets=[{"backend": "aws-ssm", "name": name}])
    refused = run(project, "rotate", "--force")
    assert refused.code == 1
    assert "no key was ever delivered to aws-ssm" in refused.err
    assert "new-target" in refused.err
    done = run(project, "deploy", "--yes", "--verbose")
    assert done.code == 0, done.text
    assert "is delivered to aws-ssm" in done.out
    assert "which the environment file no longer names, is removed" in done.out
    assert "  gone  dotenv:.cache/testing.env" in done.out
    stored = aws.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    assert json.loads(stored) == before
    assert (
        f"removed what was delivered to aws-secrets-manager:000000000000:eu-west-1:{secret_name(project)}" in done.out
    )
    assert "removed what was delivered to dotenv:.cache/testing.env" in done.out
    assert not (project.root / ".cache" / "testing.env").exists()
    assert aws.client("secretsmanager").describe_secret(SecretId=secret_name(project))["DeletedDate"]
    project.write()
    back = run(project, "deploy", "--yes")
    assert back.code == 0, back.text
    assert held(project, aws) == before
    with pytest.raises(aws.client("ssm").exceptions.ParameterNotFound):
        aws.client("ssm").get_parameter(Name=name)


def test_where_no_place_can_be_read_back_a_stage_is_kept_that_the_ci_user_cannot_read(
    project: Project, aws: EmbeddedAws
) -> None:
    before = held(project, aws)
    project.write(secrets=[{"backend": "dotenv", "path": ".cache/testing.env"}])
    done = run(project, "deploy", "--yes")
    assert done.code == 0, done.text
    stage = f"{secret_name(project)}.stage"
    client = aws.client("secretsmanager")
    assert json.loads(client.get_secret_value(SecretId=stage)["SecretString"]) == before
    own = aws.access.with_key(before["AWS_ACCESS_KEY_ID"], Secret(before["AWS_SECRET_ACCESS_KEY"]))
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        own.client("secretsmanager").get_secret_value(SecretId=stage)
    (project.root / ".cache" / "testing.env").unlink()
    again = run(project, "redeliver")
    assert again.code == 0, again.text
    assert before["AWS_SECRET_ACCESS_KEY"] in (project.root / ".cache" / "testing.env").read_text()


def test_a_key_that_nothing_here_made_stops_every_command_and_is_named(project: Project, aws: EmbeddedAws) -> None:
    foreign = aws.client("iam").create_access_key(UserName=user(project))["AccessKey"]["AccessKeyId"]
    for task in ("rotate", "redeliver", "deploy"):
        done = run(project, task, "--yes")
        assert done.code == 1, done.text
        assert foreign in done.err
        assert "foreign-key" in done.err
    assert states(project, aws)[foreign] == "Active"


def test_a_quarantine_is_reported_and_stays(project: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    name = f"AWSCompromisedKeyQuarantineV{uuid.uuid4().hex[:6]}"
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}]}
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user(project), PolicyArn=arn)
    done = run(project, "rotate")
    assert done.code == 3, done.text
    assert arn in done.out
    revoked = run(project, "revoke", "--yes", "--json")
    assert arn in revoked.json()["quarantined_by"]
    attached = iam.list_attached_user_policies(UserName=user(project))["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [arn]


def session_of(aws: EmbeddedAws, document: dict[str, str]) -> Any:
    """Return a client of CloudWatch Logs for a session that the key makes now: GetSessionToken needs no permission."""
    own = aws.access.with_key(document["AWS_ACCESS_KEY_ID"], Secret(document["AWS_SECRET_ACCESS_KEY"]))
    made = own.client("sts").get_session_token(DurationSeconds=900)["Credentials"]
    from botocore.session import Session

    return Session().create_client(
        "logs",
        region_name=aws.region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
    )


def allowed(client: Any) -> bool:
    try:
        client.describe_log_groups()
    except client.exceptions.ClientError as error:
        if "AccessDenied" not in str(error):
            raise
        return False
    return True


def test_a_leak_is_answered_in_one_command(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)
    before = session_of(aws, leaked)
    assert allowed(before)
    in_the_gap: list[Any] = []

    def watch(request: Request) -> Answer | None:
        if request.action == "UpdateAccessKey" and not in_the_gap:
            # Everything is denied already, and the key still works: a session can be made all the same.
            assert not allowed(before)
            in_the_gap.append(session_of(aws, leaked))
        return None

    project.proxy.before = watch
    done = run(project, "revoke", "--yes", "--json")
    assert done.code == 3, done.text
    report = done.json()
    assert [finding["check"] for finding in report["findings"]] == ["CIUSER_LIVE_3"] * 3
    assert report["revoked"] == [leaked["AWS_ACCESS_KEY_ID"]]
    assert any(leaked["AWS_ACCESS_KEY_ID"] in step for step in report["next_steps"])
    new = held(project, aws)
    assert new["AWS_ACCESS_KEY_ID"] == report["key_id"] != leaked["AWS_ACCESS_KEY_ID"]
    assert states(project, aws) == {leaked["AWS_ACCESS_KEY_ID"]: "Inactive", new["AWS_ACCESS_KEY_ID"]: "Active"}
    # The deny holds for sessions of before, those made in the gap among them, and for none of after.
    assert not allowed(before)
    assert not allowed(in_the_gap[0])
    own = aws.access.with_key(new["AWS_ACCESS_KEY_ID"], Secret(new["AWS_SECRET_ACCESS_KEY"]))
    assert allowed(own.client("logs"))
    assert allowed(session_of(aws, new))
    status = run(project, "status")
    assert f"{leaked['AWS_ACCESS_KEY_ID']} inactive" in status.out
    assert "inactive, revoked" in status.out
    assert "are denied everything, until" in status.out
    # It outlives a deploy, and the key never comes back.
    again = run(project, "deploy", "--yes")
    assert again.code == 0, again.text
    assert "is still on the user" in again.out
    assert not allowed(in_the_gap[0])
    refused = run(project, "reactivate", "--yes", "--key", leaked["AWS_ACCESS_KEY_ID"])
    assert refused.code == 1
    assert "never becomes active again" in refused.err
    aws.client("iam").update_access_key(
        UserName=user(project), AccessKeyId=leaked["AWS_ACCESS_KEY_ID"], Status="Active"
    )
    assert run(project, "rotate").code == 0
    assert states(project, aws)[leaked["AWS_ACCESS_KEY_ID"]] == "Inactive"


def test_the_deny_and_the_revoked_key_go_after_36_hours_with_a_later_run(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)["AWS_ACCESS_KEY_ID"]
    assert run(project, "revoke", "--yes").code == 3
    now = dt.datetime.now(tz=dt.UTC)
    revocation.put(aws.access, user(project), revocation.Revocation((leaked,), now - dt.timedelta(hours=35)))
    assert run(project, "rotate").code == 0
    assert leaked in states(project, aws)
    revocation.put(aws.access, user(project), revocation.Revocation((leaked,), now - dt.timedelta(hours=37)))
    planned = run(project, "plan")
    assert "deny of the last revocation is taken off" in planned.out
    assert run(project, "rotate").code == 0
    assert leaked not in states(project, aws)
    assert revocation.live(aws.access, user(project)) is None


def test_a_leak_is_closed_without_bucket_lease_or_backend(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)

    def broken(request: Request) -> Answer | None:
        if " " in request.action:
            return Answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        if request.headers.get("x-amz-target", "").startswith("secretsmanager"):
            return Answer(400, b'{"__type": "AccessDeniedException", "message": "no"}')
        return None

    project.proxy.before = broken
    # The dotenv file still tells whose key it is.
    done = run(project, "revoke", "--yes")
    assert done.code == 1, done.text
    assert "the leak is closed" in done.out
    assert not works(aws, leaked)
    project.proxy.before = lambda _: None
    # Another environment's broken file is no reason to wait either, nor is a profile that is not on this machine.
    project.write(state={"bucket": project.base["state"]["bucket"], "access": {"profile": "not-here"}})
    closed = run(project, "revoke", "--yes", "--all-keys")
    assert closed.code == 1, closed.text
    assert "not-here" in closed.err
    assert "the leak is closed" in closed.out
    project.write()
    other = project.root / "environments" / "unreadable.yaml"
    other.write_text("version: 1\n")
    try:
        healed = run(project, "revoke", "--yes")
    finally:
        other.unlink()
    assert healed.code == 3, healed.text
    assert works(aws, held(project, aws))


def test_a_deny_that_cannot_be_put_keeps_no_key_from_becoming_inactive(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)
    full = b"<ErrorResponse><Error><Code>LimitExceeded</Code><Message>2048</Message></Error></ErrorResponse>"
    project.proxy.before = lambda r: Answer(409, full) if r.action == "PutUserPolicy" else None
    done = run(project, "revoke", "--yes")
    assert done.code == 1, done.text
    assert "sessions made with it live on" in done.err
    assert not works(aws, leaked)
    project.proxy.before = lambda _: None
    again = run(project, "revoke", "--yes")
    assert again.code == 3, again.text
    assert works(aws, held(project, aws))


def test_an_sts_that_does_not_answer_is_not_taken_for_a_refusal(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)
    project.write(verification={"successes": 2, "interval": "10ms", "deadline": "1s", "lag": "0s"})

    def silent(request: Request) -> Answer | None:
        own = "Credential=AKIA" in request.headers.get("authorization", "")
        return Answer(503, b"") if request.action == "GetCallerIdentity" and own else None

    for _ in range(2):
        # The second run waits for what the first one deactivated.
        project.proxy.before = silent
        done = run(project, "revoke", "--yes")
        assert done.code == 1, done.text
        assert "did not come to refuse" in done.err
        denied = revocation.live(aws.access, user(project))
        assert denied is not None
        assert denied.cutoff is None
    project.proxy.before = lambda _: None
    assert run(project, "revoke", "--yes").code == 3
    assert not works(aws, leaked)
    assert works(aws, held(project, aws))


def test_a_second_leak_moves_the_cut_off_although_its_key_was_deleted_by_hand(
    project: Project, aws: EmbeddedAws
) -> None:
    assert run(project, "revoke", "--yes").code == 3
    first = revocation.live(aws.access, user(project))
    second = held(project, aws)
    session = session_of(aws, second)
    assert allowed(session)
    aws.client("iam").delete_access_key(UserName=user(project), AccessKeyId=second["AWS_ACCESS_KEY_ID"])
    done = run(project, "revoke", "--yes")
    assert done.code == 3, done.text
    after = revocation.live(aws.access, user(project))
    assert first is not None
    assert after is not None
    assert first.cutoff is not None
    assert after.cutoff is not None
    assert after.cutoff > first.cutoff
    assert not allowed(session)
    assert works(aws, held(project, aws))


def test_a_deny_that_is_taken_off_meanwhile_is_put_back(project: Project, aws: EmbeddedAws) -> None:
    def take_off(request: Request) -> Answer | None:
        if request.action == "PutSecretValue":
            revocation.take_away(aws.access, user(project))
        return None

    project.proxy.before = take_off
    done = run(project, "revoke", "--yes")
    project.proxy.before = lambda _: None
    assert done.code == 3, done.text
    assert "put the deny back" in done.out
    assert revocation.live(aws.access, user(project)) is not None


def test_without_the_journal_an_unknown_active_key_keeps_everything_denied(project: Project, aws: EmbeddedAws) -> None:
    assert run(project, "rotate", "--force").code == 0
    project.proxy.before = lambda r: (
        Answer(403, b"<Error><Code>AccessDenied</Code></Error>") if " " in r.action else None
    )
    done = run(project, "revoke", "--yes")
    assert done.code == 1, done.text
    assert "the journal cannot be read" in done.err
    denied = revocation.live(aws.access, user(project))
    assert denied is not None
    assert denied.cutoff is None
    project.proxy.before = lambda _: None
    assert run(project, "revoke", "--yes").code == 3
    assert len([status for status in states(project, aws).values() if status == "Active"]) == 1


def test_where_nothing_tells_whose_a_key_is_everything_stays_denied_until_all_keys_are_meant(
    project: Project, aws: EmbeddedAws
) -> None:
    leaked = held(project, aws)
    (project.root / ".cache" / "testing.env").unlink()

    def broken(request: Request) -> Answer | None:
        if " " in request.action:
            return Answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        if request.headers.get("x-amz-target", "").startswith("secretsmanager"):
            return Answer(400, b'{"__type": "AccessDeniedException", "message": "no"}')
        return None

    project.proxy.before = broken
    done = run(project, "revoke", "--yes")
    assert done.code == 1, done.text
    assert "--all-keys" in done.err
    own = aws.access.with_key(leaked["AWS_ACCESS_KEY_ID"], Secret(leaked["AWS_SECRET_ACCESS_KEY"]))
    assert not allowed(own.client("logs"))
    assert run(project, "revoke", "--yes", "--all-keys").code == 1
    assert not works(aws, leaked)
    project.proxy.before = lambda _: None
    stopped = run(project, "rotate", "--force")
    assert stopped.code == 3, stopped.text
    assert run(project, "revoke", "--yes").code == 3
    assert works(aws, held(project, aws))


def test_a_foreign_key_is_told_deactivated_on_request_and_deleted_by_its_id_only(
    project: Project, aws: EmbeddedAws
) -> None:
    made = aws.client("iam").create_access_key(UserName=user(project))["AccessKey"]
    foreign = made["AccessKeyId"]
    done = run(project, "revoke", "--yes", "--json")
    assert done.code == 3, done.text
    assert done.json()["foreign"] == [foreign]
    assert states(project, aws)[foreign] == "Active"
    done = run(project, "revoke", "--yes", "--json", "--all-keys")
    assert foreign in done.json()["revoked"]
    assert states(project, aws)[foreign] == "Inactive"
    wrong = run(project, "revoke", "--yes", "--delete-key", "AKIAIOSFODNN7EXAMPLE")
    assert wrong.code == 1
    assert "has no access key" in wrong.err
    gone = run(project, "revoke", "--yes", "--json", "--delete-key", foreign)
    assert gone.json()["deleted"] == [foreign]
    assert foreign not in states(project, aws)
    assert works(aws, held(project, aws))


def test_other_ways_in_are_found(project: Project, aws: EmbeddedAws) -> None:
    iam, group = aws.client("iam"), f"admins-{uuid.uuid4().hex[:8]}"
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user(project))
    iam.create_login_profile(UserName=user(project), Password="Abcdef-1234567")
    iam.put_user_policy(
        UserName=user(project),
        PolicyName="more",
        PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    )
    role = f"{project.base['application']}-testing-odd"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
    try:
        done = run(project, "revoke", "--yes", "--json")
        assert done.code == 3, done.text
        told = json.dumps(done.json()["findings"])
        for part in (group, "console password", "inline policy more", role, "999999999999", "CIUSER_LIVE_4"):
            assert part in told
    finally:
        iam.remove_user_from_group(GroupName=group, UserName=user(project))
        iam.delete_login_profile(UserName=user(project))
        iam.delete_role(RoleName=role)


def test_without_a_replacement_no_key_is_left_and_only_a_deploy_makes_one(project: Project, aws: EmbeddedAws) -> None:
    leaked = held(project, aws)
    done = run(project, "revoke", "--yes", "--no-replacement")
    assert done.code == 3, done.text
    assert listed(project, aws) == []
    rotated = run(project, "rotate", "--force")
    assert rotated.code == 3
    assert "there is NO key" in rotated.out
    assert run(project, "redeliver").code == 1
    assert listed(project, aws) == []
    assert run(project, "deploy", "--yes").code == 0
    assert held(project, aws)["AWS_ACCESS_KEY_ID"] != leaked["AWS_ACCESS_KEY_ID"]


def test_a_rotation_under_way_stops_when_a_key_is_revoked(project: Project, aws: EmbeddedAws) -> None:
    results: list[Done] = []

    def leak(request: Request) -> Answer | None:
        if request.action == "PutSecretValue" and not results:
            results.append(run(project, "revoke", "--yes", "--lock-timeout", "0s"))
        return None

    leaked = held(project, aws)
    project.proxy.before = leak
    rotated = run(project, "rotate", "--force")
    project.proxy.before = lambda _: None
    assert results[0].code == 4, results[0].text
    assert "the leak is closed" in results[0].out
    assert not works(aws, leaked)
    assert rotated.code in (0, 1), rotated.text
    again = run(project, "revoke", "--yes")
    assert again.code == 3, again.text
    assert not works(aws, leaked)
    active = [key_id for key_id, status in states(project, aws).items() if status == "Active"]
    assert active == [held(project, aws)["AWS_ACCESS_KEY_ID"]]


def test_eight_at_once_one_wins_and_the_others_name_it(project: Project, aws: EmbeddedAws) -> None:
    inside, others = threading.Event(), list[Done]()
    most = [0]

    def hold(request: Request) -> Answer | None:
        most[0] = max(most[0], len(listed(project, aws)))
        if request.action == "CreateAccessKey" and not inside.is_set():
            inside.set()
            # The one that has the lease is about to make its key, while seven others come.
            tasks = [("rotate", "--force"), ("deploy", "--yes"), ("rotate", "--force")] * 3
            with ThreadPoolExecutor(7) as pool:
                others.extend(pool.map(lambda task: run(project, *task), tasks[:7]))
        return None

    project.proxy.before = hold
    winner = run(project, "rotate", "--force")
    project.proxy.before = lambda _: None
    assert winner.code == 0, winner.text
    assert [done.code for done in others] == [4] * 7
    for done in others:
        assert "`rotate`" in done.err
        assert "process " in done.err
    assert most[0] <= 2
    assert len(listed(project, aws)) == 2
    assert works(aws, held(project, aws))


def test_all_rotates_each_environment_and_one_that_fails_stops_no_other(project: Project, aws: EmbeddedAws) -> None:
    project.write(
        "broken", state={"bucket": "no-such-bucket-anywhere"}, secrets=[{"backend": "dotenv", "path": ".cache/b.env"}]
    )
    aws.client("iam").create_user(UserName=f"{project.base['application']}-broken.ci")
    project.write("new", secrets=[{"backend": "dotenv", "path": ".cache/n.env"}])
    (project.root / "environments" / "unreadable.yaml").write_text("version: 1\n")
    before = held(project, aws)
    try:
        done = project.invoke("rotate", "--all", "--force", "--json")
        both = project.invoke("rotate", "--all", "--env", "testing")
    finally:
        for name in ("broken", "new", "unreadable"):
            (project.root / "environments" / f"{name}.yaml").unlink()
    assert done.code == 1, done.text
    codes = {entry["environment"]: entry["exit_code"] for entry in done.json()["environments"]}
    assert codes == {"broken": 1, "new": 0, "testing": 0, "unreadable": 1}
    assert "unreadable.yaml:1: account_id: missing" in done.err
    assert "no-such-bucket-anywhere" in done.err
    assert held(project, aws) != before
    assert both.code == 1
    assert "do not go together" in both.err


def test_a_user_that_somebody_deleted_is_an_error_and_not_an_environment_without_a_deploy(
    project: Project, aws: EmbeddedAws
) -> None:
    name = "lost"
    project.write(name, secrets=[{"backend": "dotenv", "path": f".cache/{name}.env"}])
    try:
        never = project.invoke("rotate", "--env", name)
        assert never.code == 0, never.text
        assert "not deployed" in never.out
        # As after a deploy whose user somebody deleted: what is left is the journal.
        application, bucket = project.base["application"], project.base["state"]["bucket"]
        journal = aws.client("s3").get_object(Bucket=bucket, Key=f"{application}/testing/lease.json")["Body"].read()
        aws.client("s3").put_object(Bucket=bucket, Key=f"{application}/{name}/lease.json", Body=journal)
        lost = project.invoke("rotate", "--env", name)
        assert lost.code == 1, lost.text
        assert f"there is no user {application}-{name}.ci" in lost.err
        assert held(project, aws)["AWS_ACCESS_KEY_ID"] in lost.err
    finally:
        (project.root / "environments" / f"{name}.yaml").unlink()


def test_a_run_that_sleeps_past_its_lease_changes_nothing_more_when_it_wakes(
    project: Project, aws: EmbeddedAws
) -> None:
    project.write(lock={"ttl": "30s"})
    sleeping = threading.Event()
    passed: list[str] = []

    def hold(request: Request) -> Answer | None:
        if sleeping.is_set() and request.changing:
            passed.append(request.action)
        if request.action == "CreateAccessKey" and not sleeping.is_set():
            os.kill(process.pid, signal.SIGSTOP)
            sleeping.set()
        return None

    project.proxy.before = hold
    process = subprocess.Popen(
        project.command("rotate", "--env", "testing", "--force"),
        cwd=project.root,
        env=project.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert sleeping.wait(60)
    # A person makes certain that the run is dead, which it is not, and breaks its lease; the next run finishes the work.
    project.proxy.before = lambda _: None
    assert run(project, "unlock", "--yes").code == 0
    assert run(project, "rotate", "--force").code == 0
    after = states(project, aws)
    current = held(project, aws)
    project.proxy.before = hold
    os.kill(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    project.proxy.before = lambda _: None
    assert process.returncode == 1, err
    assert "no longer holds the environment" in err
    assert "Traceback" not in err
    assert [action for action in passed if "lease.json" not in action] == []
    assert states(project, aws) == after
    assert held(project, aws) == current


def test_each_act_is_in_the_audit_trail_and_in_the_bucket(project: Project, aws: EmbeddedAws) -> None:
    trail = project.root / ".cache" / "audit.jsonl"
    before = len(trail.read_text().splitlines())
    project.write(audit={"bucket": True})
    done = run(project, "rotate", "--now", "--yes")
    assert done.code == 0, done.text
    lines = [json.loads(line) for line in trail.read_text().splitlines()[before:]]
    acts = [line["act"] for line in lines]
    for act in ("RecordIntent", "Mint", "Stage", "Verify", "Promote", "Deliver", "Settle", "Deactivate", "Delete"):
        assert act in acts
    assert {line["command"] for line in lines} == {"rotate"}
    assert {line["result"] for line in lines} == {"done"}
    assert all(line["caller"].startswith("arn:aws:sts::000000000000:assumed-role/") for line in lines)
    new = held(project, aws)
    assert next(line for line in lines if line["act"] == "Mint")["key_ids"] == [new["AWS_ACCESS_KEY_ID"]]
    assert new["AWS_SECRET_ACCESS_KEY"] not in trail.read_text()
    application, bucket = project.base["application"], project.base["state"]["bucket"]
    key = f"{application}/testing/audit/{lines[0]['time'][:10]}-{lines[0]['run']}.jsonl"
    stored = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    assert [json.loads(line) for line in stored.splitlines()] == lines


@pytest.mark.parametrize("task", ["rotate", "revoke", "reactivate", "redeliver"])
def test_each_command_refuses_what_cannot_be_meant(project: Project, task: str) -> None:
    unknown = project.invoke(task, "--env", "tseting")
    assert "did you mean testing" in unknown.err
    odd = run(project, task, "--lock-timeout", "soon")
    assert "no duration" in odd.err
    for done in (unknown, odd):
        assert done.code == 1
        assert "Traceback" not in done.text
    assert project.proxy.changing == []


def test_a_revocation_that_nobody_confirmed_changes_nothing(project: Project) -> None:
    unconfirmed = run(project, "revoke")
    assert unconfirmed.code == 1
    assert "not confirmed" in unconfirmed.err
    dry = project.invoke("--dry", "revoke", "--env", "testing")
    assert dry.code == 1
    assert project.proxy.changing == []
