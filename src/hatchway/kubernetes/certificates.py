"""The certificates by which operators and gateways know each other: an authority of the installation's own, and what
it issues. Pure but for the randomness of keys: time comes in as seconds since the epoch.

The authority's key stays in a Secret that no pod mounts; whoever may read that Secret may speak as an operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 730
RENEWED_DAYS = 30  # before its end a certificate is issued anew by an upgrade
SKEW_S = 300  # clocks of nodes may be behind ours


@dataclass(frozen=True)
class Certified:
    """A certificate and its key, both in PEM."""

    certificate: str
    key: str = field(repr=False)


def make_authority(now_s: float, *, days: int = AUTHORITY_DAYS) -> Certified:
    """One that issues certificates and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("hatchway authority")
    builder = (
        _begin(now_s, days)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 and later refuse an authority that does not say this.
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _certified(builder.sign(key, SHA256()), key)


def issue(authority: Certified, names: Sequence[str], now_s: float, *, days: int = CERTIFICATE_DAYS) -> Certified:
    """A certificate for both ends of a connection. `names` are DNS names and IP addresses, the first is its subject.

    It never outlives its authority. Raises ValueError without names, or for an authority that cannot be read.
    """
    if not names:
        raise ValueError("a certificate needs a name")
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not one of an elliptic curve")  # noqa: TRY004 (it is what was read)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _begin(now_s, days, until=issuer.not_valid_after_utc)
        .subject_name(_name(names[0]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return _certified(builder.sign(signer, SHA256()), key)


def service_names(service: str, namespace: str) -> list[str]:
    """What a Service of the cluster is called, the longest-lived name first."""
    return [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}", service]


def ends_at_s(certificate: str) -> float:
    """When it ends, in seconds since the epoch. Raises ValueError for what is no certificate."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def names_of(certificate: str) -> list[str]:
    """Its alternative names. Raises ValueError for what is no certificate."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def is_due(certificate: str, now_s: float) -> bool:
    """Whether it ends so soon that it is to be replaced. Raises ValueError for what is no certificate."""
    return ends_at_s(certificate) - now_s < timedelta(days=RENEWED_DAYS).total_seconds()


def _begin(now_s: float, days: int, until: datetime | None = None) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(int(now_s), UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=SKEW_S))
        .not_valid_after(end if until is None else min(end, until))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    # 64 characters are all that a common name may have; who asks for a name looks at the alternative ones.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certified(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certified:
    return Certified(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )
