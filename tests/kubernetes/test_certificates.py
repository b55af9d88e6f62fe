"""Certificates: a real handshake takes them, as strictly as Python 3.13 looks; they end, and are renewed in time."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from hatchway.kubernetes.certificates import (
    CERTIFICATE_DAYS,
    RENEWED_DAYS,
    Certified,
    ends_at_s,
    is_due,
    issue,
    make_authority,
    names_of,
    service_names,
)

DAY_S = 86400.0
NAMES = service_names("hatchway-operator", "models")


@pytest.fixture(scope="module")
def authority() -> Certified:
    return make_authority(now_s())


def now_s() -> float:
    """Handshakes look at the real clock."""
    return time.time()


def context(own: Certified, authority: Certified, folder: Path, *, server: bool) -> ssl.SSLContext:
    """One end of a connection on which both show who they are."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    made.load_verify_locations(cadata=authority.certificate)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_text(own.certificate)
    key.write_text(own.key)
    made.load_cert_chain(certificate, key)
    return made


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> list[str]:
    """Both ends in memory, until they trust each other; the names of the client. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    shown = ends[0].getpeercert(binary_form=True)
    assert shown is not None
    return names_of(ssl.DER_cert_to_PEM_cert(shown))


def test_both_ends_trust_each_other_by_their_authority_alone(authority: Certified, tmp_path: Path) -> None:
    operator = issue(authority, NAMES, now_s())
    gateway = issue(authority, ["hatchway-gateway", "127.0.0.1"], now_s())
    server = context(operator, authority, tmp_path, server=True)
    client = context(gateway, authority, tmp_path, server=False)
    assert shake(server, client, "hatchway-operator.models.svc") == ["hatchway-gateway", "127.0.0.1"]
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(server, client, "hatchway-operator.others.svc")


def test_nobody_gets_in_with_the_certificate_of_another_authority(authority: Certified, tmp_path: Path) -> None:
    other = make_authority(now_s())
    server = context(issue(authority, NAMES, now_s()), authority, tmp_path, server=True)
    client = context(issue(other, ["hatchway-gateway"], now_s()), authority, tmp_path, server=False)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(server, client, NAMES[0])


def test_a_certificate_is_due_thirty_days_before_its_end_and_never_outlives_its_authority(authority: Certified) -> None:
    begin = now_s()
    issued = issue(authority, NAMES, begin).certificate
    assert ends_at_s(issued) == pytest.approx(begin + CERTIFICATE_DAYS * DAY_S, abs=1)
    assert not is_due(issued, ends_at_s(issued) - (RENEWED_DAYS + 1) * DAY_S)
    assert is_due(issued, ends_at_s(issued) - (RENEWED_DAYS - 1) * DAY_S)
    late = issue(authority, NAMES, ends_at_s(authority.certificate) - DAY_S).certificate
    assert ends_at_s(late) == ends_at_s(authority.certificate)
    assert names_of(issued) == NAMES


def test_keys_are_not_in_what_is_logged_and_nonsense_is_refused(authority: Certified) -> None:
    assert "PRIVATE" not in repr(authority)
    assert issue(authority, NAMES, now_s()).key != issue(authority, NAMES, now_s()).key
    with pytest.raises(ValueError, match="name"):
        issue(authority, [], now_s())
    with pytest.raises(ValueError, match="PEM"):
        ends_at_s("nonsense")
