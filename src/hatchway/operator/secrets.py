"""The Secrets of an installation: what it is keyed with, as objects and back again. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping

from hatchway.kubernetes.certificates import Certified
from hatchway.kubernetes.names import TOKEN_SECRET, common_labels
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Keys
from hatchway.operator.tokens import HASHES_SECRET, make_token_secrets

OPERATOR_SECRET, AUTHORITY_SECRET = "hatchway-operator", "hatchway-authority"
OPERATOR_TLS, GATEWAY_TLS = "hatchway-operator-tls", "hatchway-gateway-tls"
FILES_TOKEN = "files-token"
KEPT_SECRETS = (AUTHORITY_SECRET, GATEWAY_TLS, OPERATOR_SECRET, OPERATOR_TLS, TOKEN_SECRET, HASHES_SECRET)
CERTIFICATE = "hatchway.dev/certificate"
TLS_DIR = "/hatchway/tls"  # where a pod has the three files of its Secret


def make_secrets(keys: Keys) -> list[Json]:
    """The authority's is mounted by no pod: it is for issuing again."""
    return [
        _secret(OPERATOR_SECRET, {FILES_TOKEN: keys.files_token}),
        *make_token_secrets(keys.control_token, keys.session_key),
        _secret(AUTHORITY_SECRET, {"ca.crt": keys.authority.certificate, "ca.key": keys.authority.key}),
        *(
            _secret(
                name,
                {"ca.crt": keys.authority.certificate, "tls.crt": issued.certificate, "tls.key": issued.key},
                type="kubernetes.io/tls",
            )
            for name, issued in ((OPERATOR_TLS, keys.operator), (GATEWAY_TLS, keys.gateway))
        ),
    ]


def told_of(issued: Certified) -> dict[str, str]:
    """Annotations of a pod that mounts a certificate: another one means other pods."""
    return {CERTIFICATE: hashlib.sha256(issued.certificate.encode()).hexdigest()[:16]}


def tls_volume(secret: str) -> Json:
    """For a pod, readable by its user alone; mount it at TLS_DIR."""
    return {"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}


TLS_MOUNT: Json = {"name": "tls", "mountPath": TLS_DIR, "readOnly": True}


def read_secret(secret: Json | None) -> Mapping[str, str]:
    """What a Secret of the cluster holds; nothing where there is none."""
    return {name: b64decode(value).decode() for name, value in ((secret or {}).get("data") or {}).items()}


def read_certified(told: Mapping[str, str], name: str) -> Certified | None:
    """`name`.crt and `name`.key of a Secret, if both are there."""
    certificate, key = told.get(f"{name}.crt", ""), told.get(f"{name}.key", "")
    return Certified(certificate, key) if certificate and key else None


def _secret(name: str, content: Mapping[str, str], *, type: str = "Opaque") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": common_labels("operator")},
        "type": type,
        "data": {key: b64encode(value.encode()).decode() for key, value in content.items()},
    }
