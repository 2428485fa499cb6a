"""What is claimed about rotations: `.venv/bin/python benchmarks/rotation.py`.

One takes under 3 s beyond the verification's wait, and a hundred in one run need little more memory than ten.
Everything runs against an embedded AWS of its own. The memory is compared within one run, as a ratio.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ci_user.sandbox import Sandbox  # noqa: E402
from tests.conftest import EmbeddedAws  # noqa: E402
from tests.project import BASE, Project  # noqa: E402
from tests.zygote import Zygote  # noqa: E402

_MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], check=False, capture_output=True, text=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(done.stdout)
sys.stderr.write(done.stderr)
"""
_UNITS = 1024 if sys.platform == "linux" else 1


def main() -> None:
    """Measure against an embedded AWS of this run's own."""
    with tempfile.TemporaryDirectory() as directory:
        sandbox = Sandbox(
            ROOT,
            account_id="000000000000",
            region="eu-west-1",
            directory=Path(directory) / "aws",
            usual_port=0,
        )
        sandbox.up()
        try:
            measure(EmbeddedAws(sandbox), Path(directory) / "project")
        finally:
            sandbox.down()


def measure(aws: EmbeddedAws, root: Path) -> None:
    """Rotate ten environments, then a hundred, then one of them alone."""
    project = Project.copied_to(root)
    project.environ |= aws.exports()
    from ci_user.state_bucket import StateBucket

    StateBucket(aws.access, "benchmark-state", aws.account_id, aws.region, "aws", None).bootstrap()
    zygote = Zygote(root, project.environ)
    try:
        environments(project, aws, zygote, range(10))
        seconds, peak, _ = rotate_all(project)
        print(f"10 environments: {seconds:.1f} s, peak memory {peak:.0f} MB")
        environments(project, aws, zygote, range(10, 100))
        more, most, report = rotate_all(project)
        done = [one for one in report["environments"] if one["made"]]
        print(
            f"100 environments: {more:.1f} s ({more / 100:.2f} s each), peak memory {most:.0f} MB, {len(done)} rotated"
        )
        print(f"memory of 100 over that of 10: {most / peak:.2f} (at most 1.30)")
        for _ in range(3):
            one(project)
    finally:
        zygote.close()


def environments(project: Project, aws: EmbeddedAws, zygote: Zygote, numbers: range) -> None:
    """Write environments, with a user and a delivered key each."""
    for number in numbers:
        name = f"env{number:03d}"
        application = f"bench{number:03d}"
        project.write(
            name,
            **{
                **BASE,
                "application": application,
                "endpoint_url": aws.endpoint_url,
                "state": {"bucket": "benchmark-state"},
                "secrets": [{"backend": "aws-secrets-manager", "name": f"ci-user/{application}/{name}"}],
                "verification": {"successes": 5, "interval": "100ms", "deadline": "5s", "lag": "0s"},
                "rotation": {"grace": "0s", "margin": "0s", "soak": "0s", "expire_after": "0s"},
            },
        )
        aws.client("iam").create_user(UserName=f"{application}-{name}.ci")
        ended = zygote.run("deploy", env=name)
        if ended.code != 0:
            sys.exit(ended.text)


def rotate_all(project: Project) -> tuple[float, float, Any]:
    """Rotate every environment in one process; return seconds, peak megabytes and the report."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *project.command("rotate", "--all", "--force", "--json")],
        cwd=project.root,
        env=project.environ | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - started
    first, _, document = done.stdout.partition("\n")
    code, kilobytes = first.split()
    if code != "0":
        sys.exit(done.stderr[-2000:])
    return seconds, int(kilobytes) / _UNITS, json.loads(document)


def one(project: Project) -> None:
    """Rotate one environment as a user does."""
    started = time.monotonic()
    done = project.invoke("rotate", "--env", "env000", "--force", "--json")
    wall = time.monotonic() - started
    if done.code != 0:
        sys.exit(done.text)
    waited = done.json()["seconds"]["verification"]
    print(
        f"one rotation: {wall:.2f} s with the start of Python, {wall - waited:.2f} s beyond the verification (under 3)"
    )


if __name__ == "__main__":
    main()
