"""Specs, revisions and events in one SQLite file (WAL), written in transactions that survive a kill -9.

Synchronous on purpose: callers in the event loop use `asyncio.to_thread`. One connection, one lock: there is a
single engine per home, its writes are small, and it may call from any thread. Foreign errors leave as StorageError.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

from hatchway.errors import StorageError
from hatchway.spec.revision import Source

Wanted = Literal["running", "stopped", "deleted"]
Kept = Mapping[str, Sequence[Mapping[str, Any]]]  # table -> rows, each column -> value
T = TypeVar("T")

EVENTS_KEPT = 200  # per API; older ones are dropped as new ones come
DEEDS_KEPT = 200  # the same
DECISIONS_KEPT = 200  # the same
IN_MEMORY = Path(":memory:")  # a store that is gone with its process
BUSY_TIMEOUT_S = 10.0  # somebody may look into the file with the sqlite3 shell

# Statements that bring a file from version N to N + 1; PRAGMA user_version counts those already done.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE apis (
            name TEXT PRIMARY KEY, kind TEXT NOT NULL, document TEXT NOT NULL, revision TEXT NOT NULL,
            wanted TEXT NOT NULL, generation INTEGER NOT NULL, updated_at REAL NOT NULL, live_revision TEXT
        ) STRICT""",
        """CREATE TABLE revisions (
            api TEXT NOT NULL, id TEXT NOT NULL, document TEXT NOT NULL, source TEXT NOT NULL,
            environment_digest TEXT NOT NULL, created_at REAL NOT NULL, PRIMARY KEY (api, id)
        ) STRICT""",
        """CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT, api TEXT NOT NULL, at REAL NOT NULL,
            reason TEXT NOT NULL, message TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX events_by_api ON events (api, number)",
        "CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
    (
        "ALTER TABLE apis ADD COLUMN outdated TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE apis ADD COLUMN scaled TEXT",
        "ALTER TABLE revisions ADD COLUMN live_at REAL",
        """UPDATE revisions SET live_at = created_at
           WHERE id = (SELECT live_revision FROM apis WHERE apis.name = revisions.api)""",
        """CREATE TABLE deeds (
            number INTEGER PRIMARY KEY AUTOINCREMENT, api TEXT NOT NULL, at REAL NOT NULL, action TEXT NOT NULL,
            by TEXT NOT NULL, revision TEXT NOT NULL, git_commit TEXT, changes TEXT NOT NULL, outcome TEXT NOT NULL,
            settled_at REAL, reason TEXT NOT NULL, message TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX deeds_by_api ON deeds (api, number)",
    ),
    (
        """CREATE TABLE decisions (
            number INTEGER PRIMARY KEY AUTOINCREMENT, api TEXT NOT NULL, at REAL NOT NULL, decision TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX decisions_by_api ON decisions (api, number)",
    ),
    (
        "ALTER TABLE revisions ADD COLUMN lived INTEGER NOT NULL DEFAULT 0",
        """UPDATE revisions SET lived = (SELECT COUNT(*) FROM revisions AS other WHERE other.api = revisions.api
               AND (other.live_at, other.rowid) <= (revisions.live_at, revisions.rowid))
           WHERE live_at IS NOT NULL""",
    ),
)

_ALL_OF_ONE = {
    "apis": "SELECT * FROM apis WHERE name = ?",
    "revisions": """SELECT api, id, document, json_remove(source, '$.files') AS source, environment_digest, created_at,
                    live_at, lived FROM revisions WHERE api = ? ORDER BY rowid""",
    "events": "SELECT api, at, reason, message FROM events WHERE api = ? ORDER BY number",
    "deeds": """SELECT api, at, action, by, revision, git_commit, changes, outcome, settled_at, reason, message
                FROM deeds WHERE api = ? ORDER BY number""",
    "decisions": "SELECT api, at, decision FROM decisions WHERE api = ? ORDER BY number",
    "memory": "SELECT key, value FROM memory WHERE substr(key, instr(key, ':') + 1) = ? AND value != '' ORDER BY key",
}


@dataclass(frozen=True)
class Scaled:
    """A number of replicas that somebody wants for a while."""

    replicas: int
    until: float  # seconds since the epoch, so that it ends on time whoever runs the engine
    by: str


@dataclass(frozen=True)
class ApiRecord:
    """What is wanted of one API.

    `document` is the spec as written (with `${VAR}` references). `revision` is the wanted one; `live_revision`
    the last one all of whose replicas were ready, which a failed update goes on serving. `outdated` are replicas
    that have to go before the API is what it should be, though `live_revision` is the wanted one: those from before
    a restart, or of an update that was taken back.
    """

    name: str
    kind: str
    document: dict[str, Any]
    revision: str
    wanted: Wanted
    generation: int  # counts edits
    updated_at: float  # seconds since the epoch
    live_revision: str | None = None
    outdated: tuple[str, ...] = ()  # ids of replicas
    scaled: Scaled | None = None


@dataclass(frozen=True)
class RevisionRecord:
    """One revision of one API: everything needed to run it again. `id` is unique within its API."""

    id: str
    api: str
    document: dict[str, Any]
    source: Source
    environment_digest: str
    created_at: float
    live_at: float | None = None  # when it last became live; None: never
    lived: int = 0  # in which order that was, whatever became of the clock; 0: never


@dataclass(frozen=True)
class RevisionSummary:
    """What a list of revisions shows. A whole one may name thousands of files."""

    id: str
    created_at: float
    git_commit: str | None
    live_at: float | None


@dataclass(frozen=True)
class Event:
    """A dated fact about an API, for people."""

    api: str
    at: float
    reason: str
    message: str


Action = Literal["deployed", "configured", "rolled_back", "restarted", "scaled", "stopped", "started"]
Outcome = Literal["pending", "live", "failed", "replaced", "done"]


@dataclass(frozen=True)
class Deed:
    """What somebody did to an API, and what became of it.

    `outcome`: "done" for what takes effect at once; else "pending" until the API is "live" or the attempt "failed",
    or was "replaced" by the next one. `reason` and `message` say why it failed.
    """

    api: str
    at: float
    action: Action
    by: str
    revision: str
    git_commit: str | None = None
    changes: tuple[str, ...] = ()
    outcome: Outcome = "pending"
    settled_at: float | None = None
    reason: str = ""
    message: str = ""


class Store:
    """The engine's memory. Every method may raise StorageError, which names the file and what to do about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._translated():
            self._db = _open(path)
            try:
                self._migrate()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- APIs --------------------------------------------------------------------------------------------
    def apis(self) -> list[ApiRecord]:
        """All APIs, by name."""
        return self._read(_api_record, "SELECT * FROM apis ORDER BY name")

    def api(self, name: str) -> ApiRecord | None:
        found = self._read(_api_record, "SELECT * FROM apis WHERE name = ?", name)
        return found[0] if found else None

    def save_api(self, record: ApiRecord) -> None:
        with self._transaction():
            self._put_api(record)

    def save_deploy(self, record: ApiRecord, revision: RevisionRecord) -> None:
        """Both or neither, so that an API never wants a revision that is not known."""
        with self._transaction():
            self._put_revision(revision)
            self._put_api(record)

    def save_live(self, record: ApiRecord, at: float) -> None:
        """The API as it is now that its live revision is one, which is remembered of the revision too."""
        with self._transaction() as db:
            self._put_api(record)
            db.execute(
                """UPDATE revisions SET live_at = ?, lived = 1 + (SELECT MAX(lived) FROM revisions WHERE api = ?)
                   WHERE api = ? AND id = ?""",
                (at, record.name, record.name, record.live_revision),
            )

    def remove_api(self, name: str) -> None:
        """Forget the API with its revisions, its events and what was done to it."""
        with self._transaction() as db:
            db.execute("DELETE FROM apis WHERE name = ?", (name,))
            for table in ("revisions", "events", "deeds", "decisions"):
                db.execute(f"DELETE FROM {table} WHERE api = ?", (name,))

    # --- revisions ---------------------------------------------------------------------------------------
    def revision(self, id: str, api: str) -> RevisionRecord | None:
        found = self._read(_revision_record, "SELECT * FROM revisions WHERE api = ? AND id = ?", api, id)
        return found[0] if found else None

    def revisions(self, api: str) -> list[RevisionRecord]:
        """The newest first."""
        query = "SELECT * FROM revisions WHERE api = ? ORDER BY created_at DESC, rowid DESC"
        return self._read(_revision_record, query, api)

    def revision_summaries(self, api: str) -> list[RevisionSummary]:
        """`revisions` without their documents and files."""
        query = """SELECT id, created_at, json_extract(source, '$.git_commit'), live_at FROM revisions
                   WHERE api = ? ORDER BY created_at DESC, rowid DESC"""
        return self._read(lambda row: RevisionSummary(*row), query, api)

    def remove_revisions(self, api: str, ids: Iterable[str]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM revisions WHERE api = ? AND id = ?", [(api, id) for id in ids])

    # --- events ------------------------------------------------------------------------------------------
    def add_event(self, event: Event) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO events (api, at, reason, message) VALUES (?, ?, ?, ?)",
                (event.api, event.at, event.reason, event.message),
            )
            self._keep_newest("events", event.api, EVENTS_KEPT)

    def events(self, api: str, limit: int = EVENTS_KEPT) -> list[Event]:
        """The newest `limit` of them, the newest first."""
        query = "SELECT api, at, reason, message FROM events WHERE api = ? ORDER BY number DESC LIMIT ?"
        return self._read(lambda row: Event(*row), query, api, limit)

    # --- what was done -----------------------------------------------------------------------------------
    def add_deed(self, deed: Deed) -> None:
        """Remember it. One that is pending, or a stop, takes the place of those before it that are pending."""
        with self._transaction() as db:
            if deed.outcome == "pending" or deed.action == "stopped":
                self._end_pending(deed.api, "replaced", deed.at)
            db.execute(
                """INSERT INTO deeds (api, at, action, by, revision, git_commit, changes, outcome, settled_at, reason,
                   message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    deed.api,
                    deed.at,
                    deed.action,
                    deed.by,
                    deed.revision,
                    deed.git_commit,
                    json.dumps(deed.changes),
                    deed.outcome,
                    deed.settled_at,
                    deed.reason,
                    deed.message,
                ),
            )
            self._keep_newest("deeds", deed.api, DEEDS_KEPT)

    def settle_deed(self, api: str, outcome: Outcome, at: float, *, reason: str = "", message: str = "") -> None:
        """What became of the deed that is pending; nothing happens when none is."""
        if self._read(lambda row: row, "SELECT 1 FROM deeds WHERE api = ? AND outcome = 'pending'", api):
            with self._transaction():
                self._end_pending(api, outcome, at, reason, message)

    def deeds(self, api: str) -> list[Deed]:
        """The newest first."""
        return self._read(_deed, "SELECT * FROM deeds WHERE api = ? ORDER BY number DESC", api)

    # --- decisions of the autoscaler ---------------------------------------------------------------------
    def add_decision(self, api: str, at: float, decision: str) -> None:
        """`decision` is JSON that only the autoscaler reads."""
        with self._transaction() as db:
            db.execute("INSERT INTO decisions (api, at, decision) VALUES (?, ?, ?)", (api, at, decision))
            self._keep_newest("decisions", api, DECISIONS_KEPT)

    def decisions(self, api: str, limit: int = DECISIONS_KEPT) -> list[tuple[float, str]]:
        """(seconds since the epoch, JSON) of the newest `limit`, the newest first."""
        query = "SELECT at, decision FROM decisions WHERE api = ? ORDER BY number DESC LIMIT ?"
        return self._read(lambda row: (row["at"], row["decision"]), query, api, limit)

    # --- small facts -------------------------------------------------------------------------------------
    def remember(self, key: str, value: str) -> None:
        """Keep one small fact, such as the gateway's port, over restarts."""
        self.remember_all({key: value})

    def remember_all(self, facts: Mapping[str, str]) -> None:
        """Keep several, with one write to the disk."""
        if facts:
            with self._transaction() as db:
                db.executemany(
                    "INSERT INTO memory VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                    list(facts.items()),
                )

    def recall(self, key: str) -> str | None:
        found = self._read(lambda row: cast(str, row["value"]), "SELECT value FROM memory WHERE key = ?", key)
        return found[0] if found else None

    # --- all that is kept of one API ----------------------------------------------------------------------
    def dump(self, api: str) -> Kept:
        """Table -> its rows about the API, in order, as plain JSON; nothing of one that is not known.

        But for the files of revisions: see `files`.
        """
        found = {table: self._read(dict, query, api) for table, query in _ALL_OF_ONE.items()}
        return {table: rows for table, rows in found.items() if rows} if found["apis"] else {}

    def files(self, api: str, revision: str) -> Any:
        """Of a revision that is known, as plain JSON."""
        query = "SELECT json_extract(source, '$.files') AS files FROM revisions WHERE api = ? AND id = ?"
        return self._read(lambda row: json.loads(row["files"]), query, api, revision)[0]

    def restore(self, kept: Kept) -> None:
        """What `dump` gave, with the files of revisions in their sources, into a store that knows nothing of the API.

        Columns of another release that this one does not have are left out; those that are missing get their default.
        """
        with self._transaction() as db:
            for table in _ALL_OF_ONE:
                rows = kept.get(table)
                if not rows:
                    continue
                known = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")} - {"number"}
                columns = [column for column in rows[0] if column in known]
                places = ", ".join(f":{column}" for column in columns)
                db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)

    # --- inside ------------------------------------------------------------------------------------------
    def _put_api(self, record: ApiRecord) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO apis VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.name,
                record.kind,
                _to_json(record.document),
                record.revision,
                record.wanted,
                record.generation,
                record.updated_at,
                record.live_revision,
                json.dumps(record.outdated),
                None if record.scaled is None else json.dumps(asdict(record.scaled)),
            ),
        )

    def _put_revision(self, record: RevisionRecord) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.api,
                record.id,
                _to_json(record.document),
                record.source.model_dump_json(),
                record.environment_digest,
                record.created_at,
                record.live_at,
                record.lived,
            ),
        )

    def _end_pending(self, api: str, outcome: Outcome, at: float, reason: str = "", message: str = "") -> None:
        self._db.execute(
            """UPDATE deeds SET outcome = ?, settled_at = ?, reason = ?, message = ?
               WHERE api = ? AND outcome = 'pending'""",
            (outcome, at, reason, message, api),
        )

    def _keep_newest(self, table: str, api: str, count: int) -> None:
        self._db.execute(
            f"""DELETE FROM {table} WHERE api = ? AND number <=
                (SELECT number FROM {table} WHERE api = ? ORDER BY number DESC LIMIT 1 OFFSET ?)""",
            (api, api, count),
        )

    def _read(self, make: Callable[[sqlite3.Row], T], query: str, *values: object) -> list[T]:
        with self._lock, self._translated():
            return [make(row) for row in self._db.execute(query, values).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _migrate(self) -> None:
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise StorageError(
                    f"{self.path} was written by a newer Hatchway",
                    hint="upgrade this one, or point HATCHWAY_HOME at another folder",
                )
            for statement in _flat(MIGRATIONS[version:]):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise _storage_error(self.path, exc) from exc
        except OSError as exc:
            raise StorageError(f"cannot open {self.path}: {exc.strerror}", hint=_HINT_HOME) from exc
        except ValueError as exc:  # JSON or a model that no version of ours wrote
            raise StorageError(f"{self.path} is damaged: {exc}", hint=_hint_damaged(self.path)) from exc


def _open(path: Path) -> sqlite3.Connection:
    if path != IN_MEMORY:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite itself would follow the umask
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL may lose the last commits on power loss
        _check(db)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    complaint = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise sqlite3.DatabaseError(complaint)


def _api_record(row: sqlite3.Row) -> ApiRecord:
    found = dict(row)
    found["document"], found["outdated"] = json.loads(found["document"]), tuple(json.loads(found["outdated"]))
    found["scaled"] = Scaled(**json.loads(found["scaled"])) if found["scaled"] else None
    return ApiRecord(**found)


def _revision_record(row: sqlite3.Row) -> RevisionRecord:
    document, source = json.loads(row["document"]), Source.model_validate_json(row["source"])
    return RevisionRecord(**{**dict(row), "document": document, "source": source})


def _deed(row: sqlite3.Row) -> Deed:
    found = dict(row)
    del found["number"]
    return Deed(**{**found, "changes": tuple(json.loads(found["changes"]))})


def _to_json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)


def _flat(steps: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for step in steps:
        yield from step


_HINT_HOME = "make the folder writable, or point HATCHWAY_HOME at another one"


def _hint_damaged(path: Path) -> str:
    return f"move {path} away and deploy your projects again, or put a backup in its place"


def _storage_error(path: Path, exc: sqlite3.Error) -> StorageError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the low byte is the family
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageError(
            f"cannot write {path}: {exc}", hint="free disk space; `hatchway prune` removes what no API needs"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StorageError(f"cannot write {path}: {exc}", hint=_HINT_HOME)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{path} is in use: {exc}", hint="end the program that holds it open, then try again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(f"{path} is damaged: {exc}", hint=_hint_damaged(path))
    return StorageError(f"{path}: {exc}", hint=_hint_damaged(path))
