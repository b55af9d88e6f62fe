"""Who may use an operator's control API: tokens, of which the cluster keeps hashes.

The Secret `hatchway-tokens` is mounted into operators: `token.NAME` is the SHA-256 of somebody's token. A token is 256
random bits, so a plain hash cannot be turned back. The Secret `hatchway-token` has the first one as it is, for those
who may read Secrets. A new or removed entry holds within seconds, for the kubelet renews the files.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from pathlib import Path

from hatchway.kubernetes.names import TOKEN_SECRET, TOKEN_SECRET_KEY, common_labels
from hatchway.kubernetes.resources import Json

HASHES_SECRET = "hatchway-tokens"
PREFIX, SESSION_KEY = "token.", "session-key"
FIRST = "admin"


class Tokens:
    """As the files of a mounted Secret say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_token(self, given: str) -> bool:
        """In the same time whichever of them it is like, and how far."""
        found = hash_of(given).encode()
        matches = [hmac.compare_digest(found, each) for each in self._hashes()]
        return any(matches)

    def session_key(self) -> str:
        """With which sessions of browsers are signed, the same for all operators; one of our own if there is none.

        With an empty one, anybody could sign.
        """
        try:
            return (self._folder / SESSION_KEY).read_text().strip() or new_token()
        except OSError:
            return new_token()

    def _hashes(self) -> list[bytes]:
        try:
            return [path.read_bytes().strip() for path in self._folder.glob(f"{PREFIX}*")]
        except OSError:
            return []


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(32)


def make_token_secrets(token: str, session_key: str) -> list[Json]:
    """The first token, and its hash."""
    return [
        _secret(TOKEN_SECRET, {TOKEN_SECRET_KEY: token}),
        _secret(HASHES_SECRET, {f"{PREFIX}{FIRST}": hash_of(token), SESSION_KEY: session_key}),
    ]


def _secret(name: str, content: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": common_labels("operator")},
        "data": {key: b64encode(value.encode()).decode() for key, value in content.items()},
    }
