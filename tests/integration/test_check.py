"""The nightly check on real parts: real Terraform and provider, real HTTP, what somebody changed and what somebody merged."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import environment_files
from ci_user.nightly.read_only import OPERATIONS
from ci_user.nightly.record_location import bucket_policy, parse_location
from tests.integration import cluster
from tests.mutations import MUTATIONS, Mutation
from tests.project import Done, Project
from tests.proxy import Answer, Request
from tests.unknown_calls import answer_unknown

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("check")]

USER, GROUP = "night-testing.ci", "night-testing.ci"


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    """A deployed environment."""
    made = new_project("night")
    made.proxy.before = answer_unknown
    for command in ("bootstrap", "deploy"):
        done = made.invoke(command, "--env", "testing", "--yes")
        assert done.code == 0, done.text
    return made


@pytest.fixture
def quiet(project: Project) -> Iterator[Project]:
    """The project with nothing recorded and nothing broken, before and after."""
    project.proxy.clear()
    project.proxy.before = answer_unknown
    yield project
    project.proxy.clear()
    project.proxy.before = answer_unknown
    project.write()


def checked(project: Project, *flags: str) -> tuple[Done, dict[str, Any]]:
    """Check the environment; return how it ended, and its result."""
    done = project.invoke("check", "--env", "testing", "--json", *flags)
    (result,) = done.json()["environments"]
    return done, result


def by_terraform(request: Request) -> bool:
    """Tell whether Terraform or its provider sent it."""
    return "terraform" in request.headers.get("user-agent", "").lower()


def left_behind(project: Project) -> list[str]:
    """Return what runs have left of their private directories."""
    return sorted(path.name for path in (project.root / ".cache" / "runs").iterdir())


def counting(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return by id what makes an environment other than clean."""
    return {e["id"]: e for e in result["entries"] if e["accepted"] is None and e["gravity"] != "notice"}


def test_what_was_deployed_is_clean_and_nothing_but_listed_reads_is_ever_sent(quiet: Project) -> None:
    refused: list[str] = []

    def only_reads(request: Request) -> Answer | None:
        secret = request.action in ("GetSecretValue", "GetParameter", "GetParameters", "CreateAccessKey", "Decrypt")
        if (request.changing and not request.action.startswith("Assume")) or secret:
            refused.append(request.action)
            return Answer(status=403)
        return answer_unknown(request)

    quiet.proxy.before = only_reads
    done = quiet.invoke("check", "--env", "testing")
    assert refused == []
    assert done.code == 0, done.text
    assert "1 of 1 clean; 1 planned" in done.text
    assert any(by_terraform(request) for request in quiet.proxy.requests)
    own = [request for request in quiet.proxy.requests if not by_terraform(request)]
    named = {request.action for request in own if " " not in request.action}
    assert "GetAccountAuthorizationDetails" in named
    assert left_behind(quiet) == []
    assert named <= {operation.split(":")[-1] for operation in OPERATIONS}


def test_what_somebody_changed_in_aws_is_told_in_every_form_and_since_when(quiet: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    iam.tag_user(UserName=USER, Tags=[{"Key": "by", "Value": "hand"}])
    key = iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    iam.create_login_profile(UserName=USER, Password="not-a-Secret-1")
    try:
        done = quiet.invoke("check", "--all", "--shard", "1/1", "--out", "one")
    finally:
        iam.delete_login_profile(UserName=USER)
        iam.delete_access_key(UserName=USER, AccessKeyId=key)
        iam.untag_user(UserName=USER, TagKeys=["by"])
    assert done.code == 3, done.text
    merged = quiet.invoke(
        "reports.merge", "--result", "one", "--out", "all", "--history", "history.sqlite", "--expect", "2", "--json"
    )
    assert merged.code == 1, "a shard is missing"
    (result,) = merged.json()["environments"]
    found = counting(result)
    assert found.keys() == {"CIUSER_DRIFT", "CIUSER_FOREIGN_KEY", "CIUSER_LIVE_5"}, "and nothing is called unapplied"
    assert {change["origin"] for change in result["changes"]} == {"drift"}
    assert key in {one["id"] for one in result["keys"]}
    assert found["CIUSER_DRIFT"]["since"] is not None
    names = {path.name for path in (quiet.root / "all").iterdir()}
    assert names == {"results.json", "junit.xml", "results.sarif", "summary.md", "report.html", "records.json"}
    assert "CIUSER_DRIFT" in (quiet.root / "all" / "report.html").read_text()


def test_known_drift_is_accepted_with_its_reason(quiet: Project, aws: EmbeddedAws) -> None:
    known = {
        "resource": "module.ci_user.aws_iam_user.this",
        "attributes": ["tags"],
        "reason": "the inventory tags every user",
        "owner": "platform",
        "expires": Project.accept("CKV_AWS_273", address="x")["expires"],
    }
    quiet.write(known_drift=[known])
    iam = aws.client("iam")
    iam.tag_user(UserName=USER, Tags=[{"Key": "by", "Value": "inventory"}])
    try:
        done, result = checked(quiet)
        assert done.code == 0, done.text
        (entry,) = [e for e in result["entries"] if e["id"] == "CIUSER_DRIFT"]
        assert entry["accepted"]["reason"] == "the inventory tags every user"
    finally:
        iam.untag_user(UserName=USER, TagKeys=["by"])


def test_what_somebody_merged_is_unapplied_and_planned_once_more_when_the_state_changes_meanwhile(
    quiet: Project, aws: EmbeddedAws
) -> None:
    quiet.write(tags={"team": "platform"})
    s3 = aws.client("s3")
    where = {"Bucket": "night-state", "Key": "night/testing/terraform.tfstate"}
    state = json.loads(s3.get_object(**where)["Body"].read())
    serials = [state["serial"] + 1]

    def somebody_deploys(request: Request) -> Answer | None:
        if serials and request.action == "GetUser" and by_terraform(request):
            state["serial"] = serials.pop()
            s3.put_object(**where, Body=json.dumps(state).encode())
        return None

    quiet.proxy.after = somebody_deploys
    done, result = checked(quiet)
    assert done.code == 3, done.text
    assert counting(result).keys() == {"CIUSER_UNAPPLIED"}, "and nothing is called drift"
    assert {change["origin"] for change in result["changes"]} == {"unapplied"}
    reads = [
        r for r in quiet.proxy.requests if r.method == "GET" and r.path.startswith("/night-state/night/testing/terra")
    ]
    assert len(reads) == 2


def test_what_has_not_changed_is_not_planned_again_and_what_has_is(quiet: Project, aws: EmbeddedAws) -> None:
    records = records_bucket(aws, "night-records")
    where = str(quiet.root / "night out")
    done, result = checked(quiet, "--records", records, "--out", where)
    assert (done.code, result["way"]) == (0, "planned"), done.text
    done = quiet.invoke("reports.keep", "--result", where, "--records", records)
    assert done.code == 0, done.text

    quiet.proxy.requests.clear()
    done, result = checked(quiet, "--records", records)
    assert (done.code, result["way"]) == (0, "unchanged"), done.text
    assert not any(by_terraform(request) for request in quiet.proxy.requests)
    assert [e["id"] for e in result["entries"] if e["accepted"]], "what is accepted is told without a plan, too"

    iam = aws.client("iam")
    iam.tag_user(UserName=USER, Tags=[{"Key": "by", "Value": "hand"}])
    try:
        done, result = checked(quiet, "--records", records)
    finally:
        iam.untag_user(UserName=USER, TagKeys=["by"])
    assert (done.code, result["way"]) == (3, "planned"), done.text
    assert "CIUSER_DRIFT" in counting(result)


def records_bucket(aws: EmbeddedAws, name: str) -> str:
    """Make a bucket whose records only the tests' login may write; return the records' address."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    location = parse_location(f"s3://{name}/nightly")
    caller = aws.access.caller()
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(bucket_policy(location, caller.arn)))
    return location.address.rsplit("/", 1)[0]


# What checking the three environments of ``three`` comes to, wherever it is done.
THREE = {"broken": ("failed", 1), "elsewhere": ("failed", 1), "testing": ("planned", 0)}


@pytest.fixture
def three(quiet: Project) -> Iterator[Project]:
    """The project with two more environments: a file that cannot be read, and an account that the login is not of."""
    quiet.write("broken", region="nowhere")
    quiet.write(
        "elsewhere",
        account_id="999999999999",
        state={"bucket": "elsewhere-state"},
        secrets=[{"backend": "aws-secrets-manager", "name": "ci-user/night/elsewhere"}],
    )
    yield quiet
    for name in ("broken", "elsewhere"):
        (quiet.root / "environments" / f"{name}.yaml").unlink()


def of_each(done: Done) -> dict[str, tuple[str, int]]:
    """Return how each environment was checked, and its exit code."""
    return {one["environment"]: (one["way"], one["exit_code"]) for one in done.json()["environments"]}


def test_one_environment_that_cannot_be_checked_stops_no_other(three: Project) -> None:
    done = three.invoke("check", "--all", "--json")
    assert done.code == 1, done.text
    assert of_each(done) == THREE, done.text


def test_on_a_cluster_a_worker_that_is_killed_while_it_plans_costs_no_result_and_no_secret_travels(
    three: Project, aws: EmbeddedAws, tmp_path: Path
) -> None:
    logins = [aws.sandbox.deployer_credentials() for _ in range(2)]
    shells = [
        three.environ
        | {
            "AWS_ACCESS_KEY_ID": login.access_key_id,
            "AWS_SECRET_ACCESS_KEY": login.secret_access_key.reveal(),
            "AWS_SESSION_TOKEN": login.session_token.reveal(),
        }
        for login in logins
    ]
    killed: set[int] = set()

    def signer(request: Request) -> int:
        """Return which worker's login signed it."""
        (number,) = (n for n, login in enumerate(logins) if login.access_key_id in request.headers["authorization"])
        return number

    loud = {"DASK_LOGGING__BOTOCORE": "debug"}
    with cluster.running(shells, tmp_path, root=three.root, settings=loud) as two, cluster.relay(two.address) as wire:

        def kill_the_first_that_plans(request: Request) -> Answer | None:
            if by_terraform(request) and not killed:
                killed.add(signer(request))
                two.workers[signer(request)].kill()
            return answer_unknown(request)

        three.proxy.before = kill_the_first_that_plans
        done = three.invoke("check", "--all", "--executor", "dask", "--scheduler", wire.address, "--json")
    assert done.code == 1, done.text
    assert of_each(done) == THREE, done.text
    assert done.json()["missing"] == []
    planned_by = {signer(request) for request in three.proxy.requests if by_terraform(request)}
    assert planned_by == {0, 1}, "it was planned again by the other one"
    assert {signer(request) for request in three.proxy.requests} == {0, 1}, "each with its own login"

    log = "".join(two.log).encode()
    assert b"botocore" in log
    assert all(b"testing" in told for told in (wire.sent, wire.came, two.wire.came)), "names and results travelled"
    assert str(three.root).encode() not in wire.sent
    for secret in (
        shell[name] for shell in (three.environ, *shells) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    ):
        for told in (wire.sent, wire.came, two.wire.sent, two.wire.came, log):
            assert secret.encode() not in told


def test_ctrl_c_ends_terraform_and_reports_what_was_done(quiet: Project) -> None:
    # What was killed outright by another test has left its own.
    before = left_behind(quiet)
    process = subprocess.Popen(
        quiet.command("check", "--env", "testing"),
        cwd=quiet.root,
        env=quiet.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def interrupted(request: Request) -> Answer | None:
        if by_terraform(request):
            process.send_signal(signal.SIGINT)
            quiet.proxy.before = answer_unknown
        return answer_unknown(request)

    quiet.proxy.before = interrupted
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 1, text
    assert "not checked" in text
    assert left_behind(quiet) == before
    assert "Traceback" not in text


@pytest.fixture(scope="module")
def baseline(project: Project, aws: EmbeddedAws) -> str:
    """Records of a clean check, before anything is changed; returns their address."""
    records, where = records_bucket(aws, "night-baseline"), str(project.root / "baseline")
    done, _ = checked(project, "--records", records, "--out", where)
    assert done.code == 0, done.text
    assert project.invoke("reports.keep", "--result", where, "--records", records).code == 0
    return records


# Those that leave something behind come last: after them nothing is as the records say.
@pytest.mark.long
@pytest.mark.parametrize("mutation", sorted(MUTATIONS, key=attrgetter("lasting")), ids=lambda one: one.name)
def test_whatever_is_changed_outside_incremental_and_full_agree(
    quiet: Project, aws: EmbeddedAws, baseline: str, mutation: Mutation
) -> None:
    environment = environment_files.load("testing", quiet.root)
    found: Any = None
    before = mutation.apply(aws.client, environment)
    try:
        incremental, found = checked(quiet, "--records", baseline)
        full, expected = checked(quiet, "--records", baseline, "--full")
    finally:
        mutation.undo(aws.client, environment, before)
    assert incremental.code == full.code, incremental.text
    assert found["entries"] == expected["entries"]
    assert found["changes"] == expected["changes"]
    assert (found["way"], expected["way"]) == ("planned", "planned")
