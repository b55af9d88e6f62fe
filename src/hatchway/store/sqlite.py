"""Specs, revisions and events in one SQLite file (WAL), written in transactions that survive a kill -9."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hatchway.spec.revision import Source

Wanted = Literal["running", "stopped", "deleted"]


@dataclass(frozen=True)
class ApiRecord:
    """What is wanted of one API.

    `document` is the spec as written (with `${VAR}` references). `revision` is the wanted one; `live_revision`
    the last one all of whose replicas were ready, which a failed update goes on serving.
    """

    name: str
    kind: str
    document: dict[str, Any]
    revision: str
    wanted: Wanted
    generation: int  # counts edits
    updated_at: float  # seconds since the epoch
    live_revision: str | None = None


@dataclass(frozen=True)
class RevisionRecord:
    """One revision of one API: everything needed to run it again."""

    id: str
    api: str
    document: dict[str, Any]
    source: Source
    environment_digest: str
    created_at: float


@dataclass(frozen=True)
class Event:
    """A dated fact about an API, for people."""

    api: str
    at: float
    reason: str
    message: str
