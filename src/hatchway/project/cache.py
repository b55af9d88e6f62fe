"""What was found out before, so that it is not found out again: hashes of files, packages of interpreters.

One small SQLite file that several commands may use at once. It is only a cache: where it cannot be read or written,
everything is found out again and nobody is told.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

BUSY_TIMEOUT_S = 1.0
ROWS_KEPT = 100_000


class Cache:
    """Texts by key. Used by one thread; written to the disk when it is closed. None as its path: remembers nothing."""

    def __init__(self, path: Path | None) -> None:
        self._db = None if path is None or not path.parent.is_dir() else _open(path)
        self._fresh: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        if key in self._fresh or self._db is None:
            return self._fresh.get(key)
        try:
            row = self._db.execute("SELECT value FROM cache WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        self._fresh[key] = value

    def close(self) -> None:
        if self._db is None:
            return
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO cache VALUES (?, ?)", self._fresh.items())
                oldest_kept = "(SELECT max(rowid) FROM cache) - ?"
                self._db.execute(f"DELETE FROM cache WHERE rowid <= {oldest_kept}", (ROWS_KEPT,))
        except sqlite3.Error:
            pass
        finally:
            self._db.close()
            self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _open(path: Path) -> sqlite3.Connection | None:
    db = None
    try:
        # The async client hashes in one thread and closes in another, never at once.
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        db.execute("CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    except sqlite3.Error:
        if db is not None:
            db.close()
        return None
    return db
