"""What is claimed about nightly checks: `.venv/bin/python benchmarks/fleet.py`, half an hour on two cores.

Everything runs against an embedded AWS of its own, and every ratio is of one run:

- 20 unchanged environments in 4 accounts, `invoke check --all --full`, against a loop of `terraform init, plan, show` and
  `checkov`
- the same, incremental
- 1,000 unchanged environments in 50 accounts with a role to assume in each, incremental, with 50 ms added to every answer;
  before that 100 and 300 of them
- the first finding of several environments is told while others are checked

One environment is deployed and the others are made as it left them (`fleet_world.py`). The records of the thousand come from a
check that reads AWS as ever and whose plans a stand-in makes, which finds them clean; a few are then planned for real.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import delay  # noqa: E402
from benchmarks.fleet_world import Place, World, accounts  # noqa: E402
from ci_user.sandbox import Sandbox  # noqa: E402
from tests.conftest import EmbeddedAws  # noqa: E402

if TYPE_CHECKING:
    from ci_user.nightly.selection import Fleet

FEW, FEW_EACH = 20, 5
SIZES, EACH = (100, 300, 1000), 20
DELAY: Final = 0.05
FULL, INCREMENTAL = 3.0, 50.0
SECONDS, MEGABYTES, GROWTH = 60.0, 500.0, 1.0
_UNITS = 1024 if sys.platform == "linux" else 1024 * 1024
_MEASURED = """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], check=False, capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": done.returncode, "seconds": time.monotonic() - began, "kilobytes": used.ru_maxrss,
    "processor": used.ru_utime + used.ru_stime, "out": done.stdout, "err": done.stderr}))
"""


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code, wall time, peak memory in megabytes of the largest process, and processor time."""

    code: int
    seconds: float
    megabytes: float
    processor: float
    out: str
    err: str


class Claims:
    """What was measured beside what is claimed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def told(self, what: str, value: str, wanted: str, *, kept: bool) -> None:
        """Print a figure."""
        print(f"{'  ' if kept else '! '}{what:52} {value:>12}  {wanted}", flush=True)
        if not kept:
            self.missed.append(what)


def main() -> None:
    """Measure against an embedded AWS of this run's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=FEW, help="environments that are planned")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="fleets that are read, the smallest first")
    parser.add_argument("--profile", type=Path, help="write a profile of the last incremental check there")
    given = parser.parse_args()
    claims = Claims()
    with tempfile.TemporaryDirectory(prefix="ci-user-bench-") as name:
        root = Path(name).resolve()
        sandbox = Sandbox(ROOT, account_id="000000000000", region="eu-west-1", directory=root / "aws", usual_port=0)
        sandbox.up()
        try:
            aws = EmbeddedAws(sandbox)
            with delay.running(aws.endpoint_url) as way:
                world = World.made(aws, root / "project", way.url)
                os.environ.update(
                    {key: value for key, value in world.project.environ.items() if key.startswith("AWS_")}
                )
                world.deploy_model()
                if given.few:
                    few(world, given.few, claims)
                if given.sizes:
                    many(world.beside(root / "fleet"), way, given.sizes, claims, given.profile)
        finally:
            sandbox.down()
    if claims.missed:
        sys.exit(1)


def few(world: World, count: int, claims: Claims) -> None:
    """Compare the check of a few environments, with plans and without, with what one would write in a shell."""
    places = list(itertools.islice(accounts(-(-count // FEW_EACH), FEW_EACH, first=200_000_000_000), count))
    world.add(places)
    fresh(world)
    full = clean(world, "--full", ways={"planned"})
    loop = sum(by_hand(world, place) for place in places)
    keep(world, world.project.root / "out")
    incremental = clean(world, "--records", records(world), ways={"unchanged"})
    print(
        f"{count} environments in {-(-count // FEW_EACH)} accounts: by hand {loop:.1f} s; --full {told(full)}; "
        f"incremental {told(incremental)}"
    )
    ratio = loop / full.seconds
    claims.told("by hand over --full", f"{ratio:.1f}", f"at least {FULL:.0f}", kept=ratio >= FULL)
    ratio = loop / incremental.seconds
    claims.told("by hand over incremental", f"{ratio:.0f}", f"at least {INCREMENTAL:.0f}", kept=ratio >= INCREMENTAL)
    first, whole = first_finding(world, places[:6])
    claims.told(
        "first finding of 6 with plans", f"{first:.1f} s", f"before the end, {whole:.1f} s", kept=first < whole - 1
    )


def many(world: World, way: delay.Delay, sizes: Sequence[int], claims: Claims, profile: Path | None) -> None:
    """Check fleets of several sizes, in which nothing has changed, over a network that takes its time."""
    each: dict[int, float] = {}
    every = list(accounts(-(-max(sizes) // EACH), EACH))
    there = 0
    for size in sizes:
        began = time.monotonic()
        fleet = world.add(every[there:size])
        made = time.monotonic() - began
        seed(world, fleet, [place.name for place in every[there:size]])
        there = size
        keep(world, world.project.root / "out")
        way.set(DELAY)
        way.passed()
        ran = clean(
            world, "--records", records(world), ways={"unchanged"}, profile=profile if size == max(sizes) else None
        )
        passed = way.passed()
        way.set(0)
        each[size] = ran.seconds / size
        print(
            f"{size} environments in {-(-size // EACH)} accounts, made in {made:.0f} s: {told(ran)}, "
            f"{each[size] * 1000:.0f} ms each, {passed.requests / size:.1f} requests each; delaying took "
            f"{passed.seconds:.1f} s of a processor"
        )
    claims.told(f"{size} environments", f"{ran.seconds:.1f} s", f"under {SECONDS:.0f}", kept=ran.seconds < SECONDS)
    claims.told("peak memory", f"{ran.megabytes:.0f} MB", f"under {MEGABYTES:.0f}", kept=ran.megabytes < MEGABYTES)
    growth = each[max(sizes)] / each[min(sizes)]
    claims.told(
        f"time for each of {max(sizes)} over that of {min(sizes)}",
        f"{growth:.2f}",
        f"at most {GROWTH:.2f}",
        kept=growth <= GROWTH,
    )
    sampled = [every[0].name, every[size - 1].name]
    ran = clean(world, "--full", only=sampled, ways={"planned"})
    print(f"{', '.join(sampled)} planned for real: clean, {told(ran)}")


def by_hand(world: World, place: Place) -> float:
    """Do with one environment what a shell script would, logged in to its account already; return the seconds."""
    from ci_user import run

    loaded = run.load(place.name, world.project.root)
    state = loaded.environment.state
    directory = world.project.root / "by-hand" / place.name
    directory.mkdir(parents=True)
    variables = directory / "terraform.tfvars.json"
    variables.write_bytes(loaded.tfvars.content)
    settings = {"bucket": state.bucket, "key": state.key, "region": state.region, "use_path_style": "true"}
    environ = world.project.environ | {"TF_DATA_DIR": str(directory / "data"), "TF_IN_AUTOMATION": "1"}
    environ |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": place.account_id}
    environ |= {"AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": ""}
    plan = directory / "plan.tfplan"
    shown = directory / "plan.json"
    checkov = ROOT / ".venv" / "bin" / "checkov"
    began = time.monotonic()
    backend = [f"-backend-config={key}={value}" for key, value in settings.items()]
    terraform(world, environ, "init", "-input=false", "-lockfile=readonly", *backend)
    terraform(world, environ, "plan", "-input=false", "-lock=false", f"-var-file={variables}", f"-out={plan}")
    shown.write_text(terraform(world, environ, "show", "-json", str(plan)))
    done = subprocess.run(
        [
            str(checkov),
            "--file",
            str(shown),
            "--framework",
            "terraform_plan",
            "--skip-download",
            "--compact",
            "--quiet",
        ],
        env=environ,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode not in (0, 1) or "Passed checks" not in done.stdout:
        sys.exit(f"checkov failed:\n{done.stdout}\n{done.stderr}")
    return seconds


def terraform(world: World, environ: dict[str, str], *arguments: str) -> str:
    """Run Terraform in the project's configuration; return what it prints."""
    done = subprocess.run(
        ["terraform", *arguments],
        cwd=world.project.root / "terraform",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"terraform {arguments[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def fresh(world: World) -> None:
    """Throw away what earlier runs left, as the machines of a CI system do."""
    shutil.rmtree(world.project.root / ".cache" / "environments", ignore_errors=True)


def records(world: World) -> str:
    """Return where the records are; their bucket is made, with the policy that makes them worth trusting."""
    from ci_user.nightly.record_location import bucket_policy, parse_location

    location = parse_location(f"s3://ci-user-records/{world.project.root.name}")
    session = world.aws.access.caller().arn
    role = session.split("/")[1]
    s3 = world.aws.client("s3")
    if location.bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        place = {"LocationConstraint": world.aws.region}
        s3.create_bucket(Bucket=location.bucket, CreateBucketConfiguration=place)
    # The embedded AWS tells a session by its own ARN.
    policy = bucket_policy(location, f"arn:aws:iam::{world.aws.account_id}:role/{role}", session)
    s3.put_bucket_policy(Bucket=location.bucket, Policy=json.dumps(policy))
    return f"s3://{location.bucket}/{location.prefix}"


def keep(world: World, result: Path) -> None:
    """Keep the records of a check, as a night's last step does."""
    ran = invoke(world, "reports.keep", "--result", str(result), "--records", records(world))
    if ran.code != 0:
        sys.exit(ran.out + ran.err)


def clean(world: World, *flags: str, ways: set[str], only: Sequence[str] = (), profile: Path | None = None) -> Ran:
    """Run `invoke check` as a user does; everything must be clean and reached in the way that is expected."""
    out = world.project.root / "out"
    chosen = [f"--only={name}" for name in only] or ["--all"]
    ran = invoke(world, "check", *chosen, *flags, "--out", str(out), profile=profile)
    if ran.code != 0:
        sys.exit(ran.out[-5000:] + ran.err[-5000:])
    result = json.loads((out / "results.json").read_text())
    found = {one["way"] for one in result["environments"]}
    if found != ways:
        others = [one["environment"] for one in result["environments"] if one["way"] not in ways]
        sys.exit(f"{len(others)} not by {ways}: {', '.join(others[:10])}: {ran.err[-2000:]}")
    return ran


def invoke(world: World, *arguments: str, profile: Path | None = None) -> Ran:
    """Run a task in a process of its own, and measure it."""
    command = world.project.command(*arguments)
    if profile is not None:
        command = [command[0], "-m", "cProfile", "-o", str(profile), *command[1:]]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command],
        cwd=world.project.root,
        env=world.project.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return Ran(told["code"], told["seconds"], told["kilobytes"] / _UNITS, told["processor"], told["out"], told["err"])


def seed(world: World, fleet: Fleet, names: Sequence[str]) -> None:
    """Check environments with a stand-in for Terraform that finds them clean; leave the result as `--out` does."""
    root = world.project.root
    plans = root / "plans.json"
    plans.write_text(json.dumps({name: world.record_of(fleet.environments[name]) for name in names}))
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "fleet_seed.py"), str(root), str(plans)],
        cwd=root,
        env=world.project.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def first_finding(world: World, places: Sequence[Place]) -> tuple[float, float]:
    """Check environments that have a key that nobody delivered; return when the first of these is told, and the end."""
    for place in places:
        world.root_of(place.account_id).client("iam").create_access_key(UserName=f"shop-{place.name}.ci")
    fresh(world)
    began = time.monotonic()
    first = None
    with subprocess.Popen(
        world.project.command("check", *(f"--only={place.name}" for place in places), "--full"),
        cwd=world.project.root,
        env=world.project.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            if first is None and "CIUSER_FOREIGN_KEY" in line:
                first = time.monotonic() - began
    whole = time.monotonic() - began
    if first is None or process.returncode != 3:
        sys.exit(f"the finding was not told, exit code {process.returncode}")
    return first, whole


def told(ran: Ran) -> str:
    """Return what a command took, in words."""
    return f"{ran.seconds:.1f} s, {ran.processor:.1f} s of a processor, {ran.megabytes:.0f} MB"


if __name__ == "__main__":
    main()
