"""Predictions one by one, as Parquet files: FOLDER/API/TIME.parquet, each whole or absent.

What comes is appended to FOLDER/API/TIME.jsonl first, which survives a kill -9, and becomes a Parquet file when it is
ROLL_AFTER_S old or ROLL_BYTES long; one that a former process left becomes one at once. PyArrow is imported when the
first API asks for a log.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from hatchway.monitoring.frames import Frame
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import LogReport

log = logging.getLogger("monitor")

ROLL_AFTER_S = 600.0
ROLL_BYTES = 32 * 1024 * 1024
UNLOGGED_RETENTION_S = 7 * 86400.0  # of what is left of an API that is not logged any more
MAX_BYTES = 1024 * 1024 * 1024  # of one API; the oldest files go first

NO_PYARROW = "PyArrow is not installed beside Hatchway, so no prediction is logged: pip install 'hatchway[log]'"

_COLUMNS = ("request_id", "revision", "at", "latency_s", "status", "input", "output", "input_bytes", "output_bytes")


@dataclass
class _Spool:
    path: Path
    since_s: float
    size: int = 0


class PredictionLogs:
    """Of all APIs that ask for one. `folder` holds one folder for each."""

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_BYTES, import_pyarrow: Callable[[], Any] | None = None
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._import_pyarrow = import_pyarrow or _import_pyarrow
        self._retention_s: dict[str, float] = {}
        self._spools: dict[str, _Spool] = {}
        self._problems: dict[str, str] = {}
        self._dropped: dict[str, int] = {}

    def watch(self, apis: Mapping[str, Watched], now_s: float) -> None:
        """These APIs are logged from now on. What was logged of others stays until it is too old."""
        self._retention_s = {
            api: watched.log_retention_s for api, watched in apis.items() if watched.log_retention_s is not None
        }
        is_missing = bool(self._retention_s) and self._import_pyarrow() is None
        self._problems = dict.fromkeys(self._retention_s, NO_PYARROW) if is_missing else {}
        for api in [*self._spools]:
            if api not in self._retention_s:
                self._close(api)
        if self._retention_s and not self._problems:
            self._finish_left()
        for gone in self._folders():
            if gone.name not in apis:
                _remove(gone)

    def write(self, api: str, revision: str, frame: Frame, now_s: float) -> None:
        """What one replica told of, if the API is logged."""
        if api not in self._retention_s or self._problems.get(api) == NO_PYARROW:
            return
        self._dropped[api] = self._dropped.get(api, 0) + frame.log_dropped
        lines = b"".join(orjson.dumps(_row(entry, revision)) + b"\n" for entry in frame.log)
        try:
            spool = self._spools.get(api) or self._open(api, now_s)
            with open(spool.path, "ab", opener=_private) as file:
                file.write(lines)
        except OSError as exc:
            self._fail(api, exc)
            return
        spool.size += len(lines)
        if spool.size >= ROLL_BYTES:
            self._close(api)

    def roll(self, now_s: float) -> None:
        """Close what is old enough, and remove what is too old or too much."""
        for api in [*self._spools]:
            if now_s - self._spools[api].since_s >= ROLL_AFTER_S:
                self._close(api)
        for folder in self._folders():
            self._expire(folder, now_s - self._retention_s.get(folder.name, UNLOGGED_RETENTION_S))

    def close(self) -> None:
        """Everything becomes Parquet files now."""
        for api in [*self._spools]:
            self._close(api)

    def report(self, api: str) -> LogReport | None:
        if api not in self._retention_s:
            return None
        folder = self._folder / api
        files = [*folder.glob("*.parquet")] if folder.is_dir() else []
        return LogReport(
            folder=str(folder),
            files=len(files),
            bytes=sum(file.stat().st_size for file in files),
            waiting_bytes=self._spools[api].size if api in self._spools else 0,
            dropped=self._dropped.get(api, 0),
            problem=self._problems.get(api, ""),
        )

    def problem(self, api: str) -> str:
        """Why nothing is written, or ""."""
        return self._problems.get(api, "")

    # --- files -------------------------------------------------------------------------------------------
    def _open(self, api: str, now_s: float) -> _Spool:
        folder = self._folder / api
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        spool = self._spools[api] = _Spool(folder / f"{stamp}Z.jsonl", now_s)
        return spool

    def _close(self, api: str) -> None:
        self._to_parquet(api, self._spools.pop(api).path)

    def _finish_left(self) -> None:
        """What a former process left."""
        opened = {spool.path for spool in self._spools.values()}
        for folder in self._folders():
            for path in sorted(folder.glob("*.jsonl")):
                if path not in opened:
                    self._to_parquet(folder.name, path)

    def _to_parquet(self, api: str, path: Path) -> None:
        target = path.with_suffix(".parquet")
        draft = path.with_suffix(".new")
        try:
            rows = [*_rows(path)]
            if rows:
                _write_parquet(rows, draft)
                draft.chmod(0o600)
                draft.replace(target)
            path.unlink()
        except OSError as exc:
            self._fail(api, exc)
        else:
            self._problems.pop(api, None)

    def _fail(self, api: str, exc: OSError) -> None:
        message = f"the prediction log cannot be written: {exc.strerror or exc}"
        if self._problems.get(api) != message:
            log.error("%s: %s", api, message)
        self._problems[api] = message

    def _expire(self, folder: Path, oldest_s: float) -> None:
        files = sorted(folder.glob("*.parquet"), key=lambda file: file.name)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            found = file.stat()
            if found.st_mtime >= oldest_s and total <= self._max_bytes:
                return
            file.unlink()
            total -= found.st_size

    def _folders(self) -> list[Path]:
        return [path for path in self._folder.glob("*") if path.is_dir()] if self._folder.is_dir() else []


def _row(entry: Mapping[str, Any], revision: str) -> dict[str, Any]:
    return {**{name: entry.get(name) for name in _COLUMNS}, "revision": revision}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Without a line that was never finished."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    yield json.loads(line)


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    schema = arrow.schema(
        [
            ("request_id", arrow.string()),
            ("revision", arrow.string()),
            ("at", arrow.timestamp("us", tz="UTC")),
            ("latency_s", arrow.float64()),
            ("status", arrow.int32()),
            ("input", arrow.string()),
            ("output", arrow.string()),
            ("input_bytes", arrow.int64()),
            ("output_bytes", arrow.int64()),
        ]
    )
    for row in rows:
        row["at"] = round(float(row["at"] or 0) * 1e6)
    columns = {name: [row.get(name) for row in rows] for name in _COLUMNS}
    table = arrow.table(
        {name: arrow.array(columns[name], type=schema.field(name).type) for name in _COLUMNS}, schema=schema
    )
    parquet.write_table(table, path, compression="zstd")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _import_pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove(folder: Path) -> None:
    """The API is deleted, and its predictions with it."""
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
