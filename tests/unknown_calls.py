"""The calls that the embedded AWS does not know, answered as AWS answers them for a user who has none of these things."""

from __future__ import annotations

from typing import Final

from tests.proxy import Answer, Request

UNKNOWN: Final = {
    "ListSSHPublicKeys": "SSHPublicKeys",
    "ListServiceSpecificCredentials": "ServiceSpecificCredentials",
    "ListSigningCertificates": "Certificates",
}
_EMPTY: Final = "<{0}Response><{0}Result><IsTruncated>false</IsTruncated><{1}/></{0}Result></{0}Response>"


def answer_unknown(request: Request) -> Answer | None:
    """Return AWS's answer to such a call, and None to any other."""
    if request.action not in UNKNOWN:
        return None
    body = _EMPTY.format(request.action, UNKNOWN[request.action])
    return Answer(200, body.encode(), headers=(("Content-Type", "text/xml"),))
