"""How much longer a deploy takes than bare Terraform on the same configuration: `.venv/bin/python benchmarks/deploy.py`.

Each round does both, in turn, in the same minute and against the same embedded AWS, and the ratios are taken round by round, so
that a machine that drifts does not matter:

- first deploy: `invoke deploy` over `terraform init, plan, show -json, apply`; scan and key are included, the wait of the key's
  verification is reported apart and taken off
- unchanged: the same two, once more, with nothing to change

Peak memory is the one of the Python process alone, as the kernel accounts it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_MEMORY = """
import resource, sys
from ci_user import commands
code = commands.run(lambda console: commands.deploy(console, env="bench", yes=False, confirm="bench", plan="", digest="",
    allow_replace=False, lock_timeout="0s"), json=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // 1024 if sys.platform == "darwin" else peak, file=sys.stderr)
sys.exit(code)
"""


def _timed(command: list[str], directory: Path, environment: dict[str, str], accept: tuple[int, ...] = (0,)) -> float:
    began = time.monotonic()
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode not in accept:
        sys.exit(f"{command[1]} failed:\n{done.stdout}\n{done.stderr}")
    return seconds


def _bare(work: Path, environment: dict[str, str], bucket: str, tfvars: bytes) -> tuple[float, dict[str, float]]:
    """Run Terraform as one would by hand, on a copy of the modules with an environment of its own."""
    variables = work / "bench.tfvars.json"
    variables.write_bytes(tfvars)
    settings = [
        f"-backend-config={item}"
        for item in (
            f"bucket={bucket}",
            "key=bare/terraform.tfstate",
            "region=eu-west-1",
            "use_lockfile=true",
            "use_path_style=true",
        )
    ]
    parts = {
        "init": _timed(["terraform", "init", "-input=false", "-reconfigure", *settings], work, environment),
        "plan": _timed(
            ["terraform", "plan", "-input=false", f"-var-file={variables}", "-out=bench.tfplan"],
            work,
            environment,
        ),
        "show": _timed(["terraform", "show", "-json", "bench.tfplan"], work, environment),
        "apply": _timed(["terraform", "apply", "-input=false", "bench.tfplan"], work, environment),
    }
    return sum(parts.values()), parts


def _deploy(copy: Path, environment: dict[str, str]) -> tuple[float, float, dict[str, float]]:
    """Run `invoke deploy`; return the wall time without the verification's wait, that wait, and the parts."""
    began = time.monotonic()
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-m", "invoke", "deploy", "--env", "sandbox", "--yes", "--json"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode != 0:
        sys.exit(f"invoke deploy failed:\n{done.stdout}\n{done.stderr}")
    parts: dict[str, float] = json.loads(done.stdout)["seconds"]
    return seconds - parts["verification"], parts["verification"], parts


def _peak_memory(copy: Path, environment: dict[str, str]) -> float:
    script = _MEMORY.replace('env="bench"', 'env="sandbox"').replace('confirm="bench"', 'confirm="sandbox"')
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-c", script],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"the memory run failed:\n{done.stdout}\n{done.stderr}")
    return int(done.stderr.strip().splitlines()[-1]) / 1024


def main() -> None:
    """Run the rounds and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    first: list[float] = []
    unchanged: list[float] = []
    memory: list[float] = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="ci-user-bench-") as name:
            ratios = _round(Path(name).resolve(), number)
            first.append(ratios[0])
            unchanged.append(ratios[1])
            memory.append(ratios[2])
    print(f"first deploy over bare Terraform: median {statistics.median(first):.2f} of {_list(first)}; at most 1.15")
    print(
        f"unchanged over bare Terraform:    median {statistics.median(unchanged):.2f} of {_list(unchanged)}; at most 0.50"
    )
    print(f"peak memory of the Python process: {max(memory):.0f} MB; under 300")
    print(
        f"children's peak (Terraform's provider): {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB"
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _round(directory: Path, number: int) -> tuple[float, float, float]:
    from ci_user import run
    from ci_user.credentials import resolve
    from ci_user.sandbox import Sandbox
    from ci_user.toolchain import find

    copy = directory / "copy"
    copy.mkdir()
    for item in ("ci_user", "terraform", "environments", "tasks.py", "requirements.txt", "pyproject.toml"):
        source = ROOT / item
        if source.is_dir():
            shutil.copytree(source, copy / item, ignore=shutil.ignore_patterns(".terraform", "__pycache__"))
        else:
            shutil.copy(source, copy / item)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    loaded = run.load("sandbox", copy)
    sandbox = Sandbox(copy, account_id=loaded.environment.account_id, region=loaded.environment.region)
    up = sandbox.up()
    try:
        toolchain = find(copy, dict(os.environ), allow_system_mirror=True)
        accesses = resolve(
            loaded.environment,
            os.environ,
            endpoint_url=up.endpoint_url,
            sandbox_credentials=sandbox.deployer_credentials,
        )
        accesses.target.client("s3").create_bucket(
            Bucket="bare-terraform-state", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        bare_environment = accesses.child_environment(os.environ)
        bare_environment["PATH"] = f"{toolchain.terraform.parent}:{bare_environment['PATH']}"
        if toolchain.cli_config:
            bare_environment["TF_CLI_CONFIG_FILE"] = str(toolchain.cli_config)
        work = directory / "bare"
        shutil.copytree(copy / "terraform", work)
        values = dict(loaded.tfvars.values) | {"prefix": "bare-sandbox"}
        tfvars = json.dumps(values).encode()
        child = dict(os.environ)

        bare, parts = _bare(work, bare_environment, "bare-terraform-state", tfvars)
        ours, waited, told = _deploy(copy, child)
        print(
            f"round {number}, first:     bare {bare:5.1f} s {_told(parts)}; "
            f"deploy {ours:5.1f} s {_told(told)}, waited {waited:.1f} s"
        )
        bare_again, parts = _bare(work, bare_environment, "bare-terraform-state", tfvars)
        ours_again, waited, told = _deploy(copy, child)
        print(
            f"round {number}, unchanged: bare {bare_again:5.1f} s {_told(parts)}; deploy {ours_again:5.1f} s {_told(told)}"
        )
        shutil.rmtree(copy / ".cache" / "environments")
        peak = _peak_memory(copy, child)
        return ours / bare, ours_again / bare_again, peak
    finally:
        sandbox.down()


def _told(parts: dict[str, float]) -> str:
    return "(" + ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items()) + ")"


if __name__ == "__main__":
    main()
