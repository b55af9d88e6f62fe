"""Panes and baselines in a SQLite file of the monitor's own, in transactions that survive a kill -9.

Minutes are kept for MINUTES_KEPT_S and merged into hours, those for HOURS_KEPT_S; where the file would grow beyond
MAX_BYTES, the oldest hours go first, those of baselines last. In hours and baselines, ids and prose are kept in short:
their lengths, and the texts that stand out. A file that is damaged or of another version is moved aside: what was
known of predictions is lost then, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.sketches import BadSketch, FieldSketch
from hatchway.spec.monitoring import BaselineSource

log = logging.getLogger("monitor")

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
MINUTES_KEPT_S = 3 * 3600
HOURS_KEPT_S = 30 * 86400
FIRST_PERIOD_S = 8 * 86400  # baseline.PERIOD_S, which begins with the first hour that is one revision's alone
MAX_BYTES = 512 * 1024 * 1024
VERSION = 1

_SCHEMA = (
    """CREATE TABLE panes (
        id INTEGER PRIMARY KEY, api TEXT NOT NULL, revision TEXT NOT NULL, width_s INTEGER NOT NULL,
        start_s INTEGER NOT NULL, seen INTEGER NOT NULL, sampled INTEGER NOT NULL,
        UNIQUE (api, revision, width_s, start_s)
    ) STRICT""",
    "CREATE INDEX panes_by_age ON panes (width_s, start_s)",
    """CREATE TABLE sketches (
        pane INTEGER NOT NULL REFERENCES panes ON DELETE CASCADE, field TEXT NOT NULL, sketch BLOB NOT NULL,
        PRIMARY KEY (pane, field)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE baselines (
        api TEXT NOT NULL, revision TEXT NOT NULL, source TEXT NOT NULL, origin TEXT NOT NULL, until_s INTEGER NOT NULL,
        count INTEGER NOT NULL, field TEXT NOT NULL, sketch BLOB NOT NULL,
        PRIMARY KEY (api, revision, source, field)
    ) STRICT""",
    """CREATE TABLE judged (
        api TEXT NOT NULL, revision TEXT NOT NULL, start_s INTEGER NOT NULL, memory TEXT NOT NULL,
        judgement TEXT NOT NULL, PRIMARY KEY (api, revision)
    ) STRICT""",
    """CREATE TABLE known (
        api TEXT NOT NULL, revision TEXT NOT NULL, places TEXT NOT NULL, PRIMARY KEY (api, revision)
    ) STRICT""",
)
# What came later than version 1 is added to files that have it: no release stumbles over a table it does not know.
_LATER = (
    """CREATE TABLE IF NOT EXISTS accepted (
        id INTEGER PRIMARY KEY, api TEXT NOT NULL, revision TEXT NOT NULL, at_s REAL NOT NULL, by TEXT NOT NULL,
        since TEXT NOT NULL, undone_at_s REAL, undone_by TEXT NOT NULL DEFAULT ''
    ) STRICT""",
)


@dataclass(frozen=True)
class Baseline:
    """What later predictions are compared with. `origin` tells one file of training data from another."""

    source: BaselineSource
    fields: Mapping[str, FieldSketch]
    count: int
    origin: str = ""
    until_s: int = 0  # the end of the period, since the epoch; 0 for training data


@dataclass(frozen=True)
class Acceptance:
    """Somebody's word that what changed is the new normal. Times are seconds since the epoch.

    `since_s`: field -> from when on its traffic is what it is compared with.
    """

    at_s: float
    by: str
    since_s: Mapping[str, float]
    undone_at_s: float | None = None
    undone_by: str = ""
    id: int = 0  # given by the store


@dataclass(frozen=True)
class Judged:
    """What is remembered of the last hour that was judged, which began at `start_s`. The rest is JSON of others."""

    start_s: int
    memory: str
    judgement: str


class PaneStore:
    """Raises sqlite3.Error when the disk is full or the file cannot be used."""

    def __init__(self, file: Path, *, is_for_thread: bool = False, max_bytes: int = MAX_BYTES) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._db = _connect(file, check_same_thread=False) if is_for_thread else _open(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def reader(self) -> PaneStore:
        """The same files for another thread, which reads while this one writes."""
        return PaneStore(self._file, is_for_thread=True)

    # --- panes -------------------------------------------------------------------------------------------
    def save(self, panes: Mapping[Key, Pane], known: Mapping[tuple[str, str], Known]) -> None:
        """These panes as they are now, all or none, and which fields there are."""
        with self._transaction():
            for key, pane in panes.items():
                self._save(key, pane)
            for (api, revision), fields in known.items():
                places = json.dumps({place: list(names) for place, names in fields.places().items()})
                self._db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (api, revision, places))

    def load(self, key: Key, name: str | None = None) -> Pane | None:
        """With all fields, or the one of this name alone."""
        row = self._db.execute(
            "SELECT id, seen, sampled FROM panes WHERE (api, revision, width_s, start_s) = (?, ?, ?, ?)", _row(key)
        ).fetchone()
        if row is None:
            return None
        rows = self._db.execute(
            "SELECT field, sketch FROM sketches WHERE pane = ? AND (? IS NULL OR field = ?)", (row[0], name, name)
        )
        return Pane(seen=row[1], sampled=row[2], fields=_sketches(rows))

    def known(self, api: str, revision: str) -> Known:
        row = self._db.execute("SELECT places FROM known WHERE (api, revision) = (?, ?)", (api, revision)).fetchone()
        return Known() if row is None else Known.of_places(json.loads(row[0]))

    def merged(self, api: str, revision: str, from_s: int, to_s: int) -> Pane:
        """What is known of the time from `from_s` to before `to_s`: of whole hours where minutes are gone already."""
        merged = Pane()
        for key in self.keys(api, revision, from_s, to_s):
            pane = self.load(key)
            if pane is not None:
                merged.merge(pane)
        return merged

    def keys(self, api: str, revision: str, from_s: int, to_s: int) -> list[Key]:
        """Of the panes that tell of this time, each moment once, oldest first."""
        rows = self._db.execute(
            """SELECT width_s, start_s FROM panes
               WHERE api = ? AND revision = ? AND start_s >= ? AND start_s + width_s <= ?
               ORDER BY start_s, width_s DESC""",
            (api, revision, from_s, to_s),
        ).fetchall()
        hours = {start for width, start in rows if width == HOUR_S}
        return [
            Key(api, revision, width, start)
            for width, start in rows
            if width == HOUR_S or start - start % HOUR_S not in hours
        ]

    def revisions(self, api: str) -> list[str]:
        """Those that anything is known of, the newest first."""
        rows = self._db.execute(
            "SELECT revision FROM panes WHERE api = ? GROUP BY revision ORDER BY max(start_s) DESC", (api,)
        )
        return [revision for (revision,) in rows]

    # --- baselines ---------------------------------------------------------------------------------------
    def save_baseline(self, api: str, revision: str, baseline: Baseline) -> None:
        """In the place of the one of the same source."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM baselines WHERE (api, revision, source) = (?, ?, ?)", (api, revision, baseline.source)
            )
            self._db.executemany(
                "INSERT INTO baselines VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        api,
                        revision,
                        baseline.source,
                        baseline.origin,
                        baseline.until_s,
                        baseline.count,
                        name,
                        sketch.to_bytes(in_short=True),
                    )
                    for name, sketch in baseline.fields.items()
                ],
            )

    def baseline(self, api: str, revision: str, source: BaselineSource) -> Baseline | None:
        rows = self._db.execute(
            "SELECT field, sketch, origin, until_s, count FROM baselines WHERE (api, revision, source) = (?, ?, ?)",
            (api, revision, source),
        ).fetchall()
        if not rows:
            return None
        fields = _sketches((name, data) for name, data, *_ in rows)
        _, _, origin, until_s, count = rows[0]
        return Baseline(source, fields, count, origin, until_s)

    def baseline_fields(self, api: str, revision: str, source: BaselineSource) -> set[str]:
        """The names of its fields, without what is known of them."""
        rows = self._db.execute(
            "SELECT field FROM baselines WHERE (api, revision, source) = (?, ?, ?)", (api, revision, source)
        )
        return {field for (field,) in rows}

    # --- judgements --------------------------------------------------------------------------------------
    def hours(self, api: str, revision: str) -> list[int]:
        """The starts of the hours that are over and had requests, oldest first."""
        rows = self._db.execute(
            "SELECT start_s FROM panes WHERE (api, revision, width_s) = (?, ?, ?) ORDER BY start_s",
            (api, revision, HOUR_S),
        )
        return [start for (start,) in rows]

    def judged(self, api: str, revision: str) -> Judged | None:
        row = self._db.execute(
            "SELECT start_s, memory, judgement FROM judged WHERE (api, revision) = (?, ?)", (api, revision)
        ).fetchone()
        return None if row is None else Judged(*row)

    def save_judged(self, api: str, revision: str, judged: Judged) -> None:
        with self._transaction():
            self._save_judged(api, revision, judged)

    def _save_judged(self, api: str, revision: str, judged: Judged) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?)",
            (api, revision, judged.start_s, judged.memory, judged.judgement),
        )

    # --- accepted changes --------------------------------------------------------------------------------
    def accepted(self, api: str, revision: str) -> list[Acceptance]:
        """The newest first, those that were undone too."""
        rows = self._db.execute(
            """SELECT at_s, by, since, undone_at_s, undone_by, id FROM accepted
               WHERE (api, revision) = (?, ?) ORDER BY id DESC""",
            (api, revision),
        )
        return [Acceptance(at, by, json.loads(since), *undone) for at, by, since, *undone in rows]

    def accept(self, api: str, revision: str, accepted: Acceptance, judged: Judged) -> None:
        """Keep it, and what is remembered from now on, both or none."""
        with self._transaction():
            self._add_accepted(api, revision, accepted)
            self._save_judged(api, revision, judged)

    def add_accepted(self, api: str, revision: str, accepted: Acceptance) -> None:
        """One that was accepted of another revision."""
        with self._transaction():
            self._add_accepted(api, revision, accepted)

    def _add_accepted(self, api: str, revision: str, accepted: Acceptance) -> None:
        self._db.execute(
            "INSERT INTO accepted (api, revision, at_s, by, since) VALUES (?, ?, ?, ?, ?)",
            (api, revision, accepted.at_s, accepted.by, json.dumps(accepted.since_s)),
        )

    def undo(self, api: str, revision: str, undone: Acceptance, judged: Judged) -> None:
        """The same for one that was accepted before."""
        with self._transaction():
            self._db.execute(
                "UPDATE accepted SET undone_at_s = ?, undone_by = ? WHERE id = ?",
                (undone.undone_at_s, undone.undone_by, undone.id),
            )
            self._save_judged(api, revision, judged)

    # --- what goes ---------------------------------------------------------------------------------------
    def roll_up(self, now_s: float, watched: Collection[tuple[str, str]] = ()) -> None:
        """Merge the minutes of hours that are over, drop what is too old, and the oldest while there is too much.

        Those weeks of the revisions that are `watched` (API, revision) stay that later ones are compared with: the
        first, and the first after a change that was accepted.
        """
        done = int(now_s) - int(now_s) % HOUR_S
        rows = self._db.execute(
            """SELECT DISTINCT api, revision, start_s / ? * ? FROM panes AS minutes
               WHERE width_s = ? AND start_s < ? AND NOT EXISTS (
                   SELECT 1 FROM panes WHERE api = minutes.api AND revision = minutes.revision AND width_s = ?
                   AND start_s = minutes.start_s / ? * ?)""",
            (HOUR_S, HOUR_S, MINUTE_S, done, HOUR_S, HOUR_S, HOUR_S),
        ).fetchall()
        for api, revision, start in rows:
            with self._transaction():
                self._save(Key(api, revision, HOUR_S, start), self.merged(api, revision, start, start + HOUR_S))
        with self._transaction():
            self._db.execute("DELETE FROM panes WHERE width_s = ? AND start_s < ?", (MINUTE_S, now_s - MINUTES_KEPT_S))
            self._drop_hours(now_s - HOURS_KEPT_S, watched)
            self._drop_revisions(watched)
        self._shrink(now_s, watched)

    def _drop_hours(self, before_s: float, watched: Collection[tuple[str, str]]) -> None:
        rows = self._db.execute(
            """SELECT api, revision, min(start_s) FROM panes WHERE width_s = ? GROUP BY api, revision
               HAVING min(start_s) < ?""",
            (HOUR_S, before_s),
        ).fetchall()
        for api, revision, first_s in rows:
            kept = json.dumps(self._compared_with(api, revision, first_s) if (api, revision) in watched else [])
            self._db.execute(
                """DELETE FROM panes WHERE (api, revision, width_s) = (?, ?, ?) AND start_s < ?
                   AND NOT EXISTS (SELECT 1 FROM json_each(?) WHERE start_s >= value AND start_s < value + ?)""",
                (api, revision, HOUR_S, before_s, kept, FIRST_PERIOD_S),
            )

    def _drop_revisions(self, watched: Collection[tuple[str, str]]) -> None:
        """What is left of those that no hour is known of any more."""
        for table in ("baselines", "judged", "known", "accepted"):
            for owner in self._db.execute(
                f"""SELECT DISTINCT api, revision FROM {table} AS left_over WHERE NOT EXISTS (
                    SELECT 1 FROM panes WHERE api = left_over.api AND revision = left_over.revision)"""
            ).fetchall():
                if owner not in watched:
                    self._db.execute(f"DELETE FROM {table} WHERE (api, revision) = (?, ?)", owner)

    def _compared_with(self, api: str, revision: str, first_s: float) -> list[float]:
        """When the weeks begin that this revision's traffic is compared with."""
        found = self.accepted(api, revision)
        return [first_s, *{since for one in found if one.undone_at_s is None for since in one.since_s.values()}]

    def forget(self, api: str) -> None:
        """The API is deleted."""
        with self._transaction():
            for table in ("panes", "baselines", "judged", "known", "accepted"):
                self._db.execute(f"DELETE FROM {table} WHERE api = ?", (api,))

    def apis(self) -> set[str]:
        return {api for (api,) in self._db.execute("SELECT api FROM panes UNION SELECT api FROM baselines")}

    def used_bytes(self) -> int:
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _shrink(self, now_s: float, watched: Collection[tuple[str, str]]) -> None:
        """Drop hours while there is too much."""
        if self.used_bytes() <= self._max_bytes:
            return
        with self._transaction():
            for id in self._expendable(now_s, watched):
                self._db.execute("DELETE FROM panes WHERE id = ?", (id,))
                if self.used_bytes() <= self._max_bytes:
                    return

    def _expendable(self, now_s: float, watched: Collection[tuple[str, str]]) -> list[int]:
        """Hours by what they are worth, the least first.

        Those that nothing is compared with, the oldest first. Then those of baselines from their end: a baseline that
        lost its beginning would follow the traffic. Then those of the last day, which are judged.
        """
        rows = self._db.execute(
            "SELECT id, api, revision, start_s FROM panes WHERE width_s = ? ORDER BY start_s", (HOUR_S,)
        ).fetchall()
        first_s: dict[tuple[str, str], int] = {}
        for _, api, revision, start in rows:
            first_s.setdefault((api, revision), start)
        kept = {owner: self._compared_with(*owner, first_s[owner]) for owner in watched if owner in first_s}

        def worth(row: tuple[int, str, str, int]) -> tuple[int, int]:
            _, api, revision, start = row
            if start >= now_s - DAY_S:
                return 2, start
            is_baseline = any(since <= start < since + FIRST_PERIOD_S for since in kept.get((api, revision), ()))
            return (1, -start) if is_baseline else (0, start)

        return [row[0] for row in sorted(rows, key=worth)]

    # --- inside ------------------------------------------------------------------------------------------
    def _save(self, key: Key, pane: Pane) -> None:
        (pane_id,) = self._db.execute(
            """INSERT INTO panes (api, revision, width_s, start_s, seen, sampled) VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET seen = excluded.seen, sampled = excluded.sampled RETURNING id""",
            (*_row(key), pane.seen, pane.sampled),
        ).fetchone()
        self._db.executemany(
            "INSERT OR REPLACE INTO sketches VALUES (?, ?, ?)",
            [(pane_id, name, sketch.to_bytes(key.width_s != MINUTE_S)) for name, sketch in pane.fields.items()],
        )

    def _pragma(self, name: str) -> int:
        return cast("int", self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _row(key: Key) -> tuple[str, str, int, int]:
    return key.api, key.revision, key.width_s, key.start_s


def _sketches(rows: Iterable[tuple[str, bytes]]) -> dict[str, FieldSketch]:
    found = {}
    for name, data in rows:
        try:
            found[name] = FieldSketch.from_bytes(data)
        except BadSketch as exc:
            log.warning("%s: %s", name, exc)
    return found


def _open(file: Path) -> sqlite3.Connection:
    try:
        return _connect(file)
    except (sqlite3.DatabaseError, _OtherVersion) as exc:
        log.warning("starting anew, %s is moved aside: %s", file.name, exc)
        for part in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{file}{part}").rename(f"{file}.damaged{part}")
        return _connect(file)


class _OtherVersion(Exception):
    pass


def _connect(file: Path, *, check_same_thread: bool = True) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=check_same_thread)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        db.execute("BEGIN")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    elif version != VERSION:
        raise _OtherVersion(f"version {version}")
    for statement in _LATER:
        db.execute(statement)
