from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import UsageError
from ci_user.nightly.cluster import ClusterAddress

HERE = Path(__file__)
"""Any file: only reading a certificate tells what it is."""


@pytest.mark.parametrize(
    ("given_address", "contact"),
    [
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
        ("tcp://[0:0:0:0:0:0:0:1]:65535", "tcp://[::1]:65535"),
        ("tcp://LocalHost:8786", "tcp://127.0.0.1:8786"),
    ],
)
def test_on_this_machine_it_may_be_open_and_no_name_is_looked_up(given_address: str, contact: str) -> None:
    address = ClusterAddress(given_address)
    assert (address.contact, address.encrypted) == (contact, False)


BEYOND = """10.0.0.1 255.255.255.255 [::] 127.0.0.2 127.1 2130706433 0x7f000001 0177.0.0.1 127.0.0.01 [::ffff:127.0.0.1]
    dask localhost.example.com 127.0.0.1.example.com ip6-localhost localhost.a"""


@pytest.mark.parametrize("host", BEYOND.split())
def test_beyond_this_machine_an_open_scheduler_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(UsageError, match="not encrypted") as refused:
        ClusterAddress(f"tcp://{host}:8786")
    assert "run code next to AWS credentials" in str(refused.value)


NONE = """127.0.0.1:8786 localhost tcp://127.0.0.1 tcp://127.0.0.1: tcp://127.0.0.1:0 tcp://::1:8786
    tcp://127.0.0.1:65536 tcp://127.0.0.1:8786/ tcp://a@127.0.0.1:8786 tcp://127.0.0.1:8786@dask:1 ws://127.0.0.1:8786
    ucx://127.0.0.1:8786 inproc://127.0.0.1:1 TCP://127.0.0.1:8786 tcp://localhost.:1 tcp://[127.0.0.1]:8786
    tcp://[::1%lo]:8786 tcp://[::1:8786 tls://-a:1"""
ODD = [
    "",
    "tcp://127.0.0.1:8786\n",
    "tcp://127.0.0.1\t:8786",
    " tcp://127.0.0.1:8786",
    "tcp://127.0.0.1:\uff18",
    "tls://\x1b[31m:1",
]


@pytest.mark.parametrize("address", [*NONE.split(), *ODD])
def test_what_is_no_address_is_refused(address: str) -> None:
    for files in ((), (HERE, HERE, HERE)):
        with pytest.raises(UsageError, match="is not the address of a scheduler") as refused:
            ClusterAddress(address, *files)
        assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("host", ["dask.example.com", "10.0.0.1", "[2001:db8::1]", "127.0.0.1", "my_dask"])
def test_tls_needs_all_three_files_wherever_it_is(host: str) -> None:
    assert ClusterAddress(f"tls://{host}:8786", HERE, HERE, HERE).contact == f"tls://{host}:8786"
    for lacking in range(3):
        files = [None if place == lacking else HERE for place in range(3)]
        with pytest.raises(UsageError, match=("--tls-ca", "--tls-cert", "--tls-key")[lacking]):
            ClusterAddress(f"tls://{host}:8786", *files)


def test_certificates_for_an_open_connection_are_refused() -> None:
    with pytest.raises(UsageError, match="is not encrypted"):
        ClusterAddress("tcp://127.0.0.1:8786", tls_ca=HERE)


def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file") as refused:
        ClusterAddress("tls://dask:8786", HERE, tmp_path / "no.pem", HERE)
    assert refused.value.where == "--tls-cert"


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_no_certificate_is_told_and_no_passphrase_is_asked_for(encrypted: bool, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    lock = serialization.BestAvailableEncryption(b"secret") if encrypted else serialization.NoEncryption()
    made = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    with pytest.raises(UsageError, match="cannot be used"):
        ClusterAddress("tls://dask:8786", HERE, HERE, key).security()


@given(
    st.one_of(
        st.text(max_size=40),
        st.builds(
            "{}://{}{}{}".format,
            st.sampled_from(["tcp", "tls", "ws", "tcp ", "inproc", ""]),
            st.one_of(
                st.sampled_from(["127.0.0.1", "localhost", "[::1]", "::1", "0", "127.0.0.1@"]),
                st.text(max_size=20),
                st.ip_addresses().map(str),
                st.ip_addresses(v=6).map("[{}]".format),
            ),
            st.sampled_from([":", "", "/:"]),
            st.one_of(st.integers(-1, 70_000).map(str), st.text(max_size=6)),
        ),
    ),
    st.booleans(),
)
def test_whatever_is_accepted_is_loopback_or_mutual_tls(text: str, files: bool) -> None:
    try:
        address = ClusterAddress(text, *(HERE,) * 3) if files else ClusterAddress(text)
    except UsageError:
        return
    pattern = r"tls://(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+):\d+" if files else r"tcp://(127\.0\.0\.1|\[::1\]):\d+"
    assert re.fullmatch(pattern, address.contact)
    assert address.encrypted == files
