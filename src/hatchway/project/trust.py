"""Which models the user trusts to run code while they load, by the hash of their content.

One file in the home, private to the user, a line per model: hash, when, path. Only the hash counts; the rest is for
people who look at the file.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from hatchway.errors import StorageError

TRUST_FILE = "trusted-models"


class Trust:
    """What the file at `path` says; a file that is not there says nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def knows(self, sha256: str) -> bool:
        try:
            lines = self._path.read_text().splitlines()
        except OSError:
            return False
        return any(line.partition(" ")[0] == sha256 for line in lines)

    def remember(self, sha256: str, model: Path, now: datetime | None = None) -> None:
        """Raises StorageError."""
        if self.knows(sha256):
            return
        when = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = str(model.resolve()).encode("unicode_escape").decode("ascii")  # a line, whatever is in the name
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "a") as file:
                file.write(f"{sha256} {when} {name}\n")
        except OSError as exc:
            raise StorageError(f"cannot remember in {self._path} that a model is trusted: {exc.strerror}") from exc
