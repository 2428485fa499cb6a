from __future__ import annotations

import datetime as dt
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ci_user.errors import ClusterError
from ci_user.nightly.cluster import ClusterAddress
from ci_user.nightly.executor_dask import Answer, Waits, run
from tests.integration import cluster, night_work

NAMES = [f"shop-{number}" for number in range(12)]
BATCHES = [NAMES[first : first + 2] for first in range(0, 12, 2)]
WAITS = Waits(connect=10, workers=20)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    with cluster.running([os.environ], tmp_path_factory.mktemp("cluster")) as started:
        yield started


def test_what_one_batch_raises_is_the_failure_of_its_names_only(
    one: cluster.Cluster, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-client")
    answers: list[Answer] = []
    broken = tuple(BATCHES[1])
    with (
        cluster.Meeting(lambda pid, names: "fail" if names == broken else "go").open() as meeting,
        cluster.relay(one.address) as wire,
    ):
        options = {"meet": meeting.port, "full": True, "only": "plan"}
        run(BATCHES[:3], night_work.check_batch, options, ClusterAddress(wire.address), answers.append, WAITS)
    assert {answer.names: answer.error is None for answer in answers} == {
        tuple(BATCHES[0]): True,
        broken: False,
        tuple(BATCHES[2]): True,
    }
    (error,) = (answer.error for answer in answers if answer.error)
    assert "OSError: \\x1b[31mno room" in error.what
    assert [names for _, names in meeting.came].count(broken) == 3, "it is tried again twice"
    for answer in answers:
        if answer.error is None:
            told = json.loads(answer.text)
            assert (tuple(told["names"]), told["options"]) == (answer.names, options)
    assert all(name.encode() in wire.sent for batch in BATCHES[:3] for name in batch), "the relay saw what was sent"
    for secret in ("canary-of-the-client", str(root)):
        assert secret.encode() not in wire.sent


def test_after_ctrl_c_what_has_not_begun_does_not_begin(one: cluster.Cluster) -> None:
    """All but the first batch is held until the run has ended. What a worker had been given by then may still begin."""
    ended = threading.Event()

    def interrupt(answer: Answer) -> None:
        raise KeyboardInterrupt

    def hold_all_but_the_first(pid: int, names: tuple[str, ...]) -> str:
        if len(meeting.came) > 1:
            ended.wait(30)
        return "go"

    batches = [[f"shop-{number}"] for number in range(60)]
    with cluster.Meeting(hold_all_but_the_first).open() as meeting:
        options, address = {"meet": meeting.port}, ClusterAddress(one.address)
        with pytest.raises(KeyboardInterrupt):
            run(batches, night_work.check_batch, options, address, interrupt, WAITS)
        ended.set()
        answers: list[Answer] = []
        run([["last"], ["last"]], night_work.check_batch, options, address, answers.append, WAITS)
    assert [answer.error for answer in answers] == [None, None]
    assert 1 <= len([names for _, names in meeting.came if names != ("last",)]) < 20


def test_a_batch_that_kills_its_workers_fails_alone_and_a_cluster_without_workers_is_given_up(tmp_path: Path) -> None:
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    }
    answers: list[Answer] = []
    waits = Waits(connect=10, workers=0.5)
    with (
        cluster.running([os.environ], tmp_path, settings=settings) as one,
        cluster.Meeting(lambda pid, names: "die" if not answers else "go").open() as meeting,
    ):
        options, address = {"meet": meeting.port}, ClusterAddress(one.address)
        run(BATCHES[:4], night_work.check_batch, options, address, answers.append, waits)
        with pytest.raises(ClusterError, match=r"no worker was there for 0\.5 s"):
            run(BATCHES[:1], night_work.check_batch, options, address, answers.append, waits)
    assert len(meeting.came) == 1
    told = {answer.names: answer.error.what for answer in answers if answer.error}
    assert set(told) == {tuple(batch) for batch in BATCHES[:4]}
    assert told.pop(meeting.came[0][1]) == "every worker that checked these environments died: 1"
    assert set(told.values()) == {"no worker was there for 0.5 s"}


@dataclass(frozen=True)
class Certificates:
    ca: Path
    cert: Path
    key: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--tls-ca-file", str(self.ca), "--tls-cert", str(self.cert), "--tls-key", str(self.key))


def certificates(directory: Path) -> Certificates:
    """Make an authority and one certificate of it."""
    directory.mkdir()
    now = dt.datetime.now(dt.UTC)

    def issue(
        subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, authority: bool
    ) -> bytes:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
        builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    above, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    made.ca.write_bytes(issue("cluster", above, "cluster", above, True))
    made.cert.write_bytes(issue("node", own, "cluster", above, False))
    made.key.write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def test_over_tls_only_who_has_a_certificate_of_the_cluster_gets_in_and_a_lost_scheduler_is_told(
    tmp_path: Path,
) -> None:
    ours, foreign = certificates(tmp_path / "ours"), certificates(tmp_path / "foreign")
    answers: list[Answer] = []
    with cluster.running([os.environ], tmp_path, flags=ours.flags) as one:

        def answer(pid: int, names: tuple[str, ...]) -> str:
            if names == ("lost",):
                one.scheduler.kill()
            return "go"

        with cluster.Meeting(answer).open() as meeting:
            options = {"meet": meeting.port}
            address = ClusterAddress(one.address, ours.ca, ours.cert, ours.key)
            run([["here"]], night_work.check_batch, options, address, answers.append, WAITS)
            assert answers[0].names == ("here",)
            assert answers[0].error is None

            quick = Waits(connect=1, workers=1)
            for stranger in (
                ClusterAddress(one.address, ours.ca, foreign.cert, foreign.key),
                ClusterAddress(one.address, foreign.ca, ours.cert, ours.key),
                ClusterAddress(one.address.replace("tls", "tcp")),
            ):
                with pytest.raises(ClusterError, match="does not answer"):
                    run([["no"]], night_work.check_batch, options, stranger, answers.append, quick)
            assert len(answers) == 1

            run([["lost"]], night_work.check_batch, options, address, answers.append, quick)
    assert answers[1].names == ("lost",)
    assert answers[1].error is not None
    assert answers[1].error.what.startswith("the scheduler was lost")
