"""Who may use the engine's TCP port: whoever knows the token, or a browser that came by a link made with it. No clock.

The link carries a code that works once. A session is signed with the token, so it outlives the engine; who replaces
the token ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from hatchway.errors import StorageError

CODE_LIFE_S = 600.0
SESSION_LIFE_S = 30 * 24 * 3600.0
MAX_CODES = 100  # links that nobody has followed; the oldest goes
SHORTEST_TOKEN = 32  # characters; 43 are what we write


class Access:
    """Decides by the token; `now` is in seconds since the epoch.

    `secret` signs sessions. `is_token` tells tokens from others; by default the secret is the one token.
    """

    def __init__(self, secret: str, is_token: Callable[[str], bool] | None = None) -> None:
        self._secret = secret
        self.is_token = is_token or self._is_secret
        self._codes: dict[str, float] = {}  # until when each may be used

    def _is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._secret.encode())

    def new_code(self, now: float) -> str:
        """What makes one browser a session, once, within ten minutes."""
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(24)
        self._codes[code] = now + CODE_LIFE_S
        return code

    def redeem(self, code: str, now: float) -> str | None:
        """The value of a session's cookie; None for a code that is unknown, old or used."""
        if self._codes.pop(code, 0.0) <= now:
            return None
        until = str(int(now + SESSION_LIFE_S))
        return f"{until}.{self._sign(until)}"

    def is_session(self, cookie: str, now: float) -> bool:
        until, _, signature = cookie.partition(".")
        if not until.isdecimal() or not until.isascii() or len(until) > 12:
            return False
        return hmac.compare_digest(signature.encode(), self._sign(until).encode()) and now < int(until)

    def _sign(self, until: str) -> str:
        return hmac.new(self._secret.encode(), f"dashboard session until {until}".encode(), hashlib.sha256).hexdigest()


def read_or_make_token(path: Path) -> str:
    """The token of a home, in a file that only its user can read. Raises StorageError.

    A file that others could have read, or that holds next to nothing, is replaced: it keeps no secret.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        found = _read(path)
        return found if found is not None else _make(path)
    except OSError as exc:
        raise StorageError(f"cannot keep the dashboard's token in {path}: {exc.strerror}") from exc


def _read(path: Path) -> str | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(file, "rb") as opened:
        kept = os.fstat(file)
        if stat.S_IMODE(kept.st_mode) & 0o077 or kept.st_uid != os.getuid():
            return None
        text = opened.read(1024).decode(errors="replace").strip()
    return text if len(text) >= SHORTEST_TOKEN else None


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
    unfinished.replace(path)
    return token
