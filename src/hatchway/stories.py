"""Puts together what replicas, the gateway and the logs know of one request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import cast

from hatchway.backends import SeenRequest, Sightings
from hatchway.errors import NotFound
from hatchway.gateway.journal import Entry
from hatchway.spec.logs import moment_text
from hatchway.spec.status import LogLine
from hatchway.spec.story import GatewayNote, Outcome, RequestStory, RequestVisit

MAX_LINES = 200

_MEANINGS = {
    "DC": "the client left before the answer was complete",
    "DPE": "the client sent what is not valid HTTP",
    "NR": "no API is served at this path",
    "SI": "nothing was sent for longer than the idle timeout",
    "UC": "the connection to the replica broke before the answer was complete",
    "UF": "no replica could be reached",
    "UH": "no replica was ready",
    "UPE": "the replica answered what is not valid HTTP",
    "UR": "the replica broke off the request",
    "URX": "it was tried as often as is allowed",
    "UT": "the replica did not answer in time",
}


def apis_of(sightings: Sightings, entries: Sequence[Entry]) -> set[str]:
    """The APIs that the request is known to have asked for."""
    return {seen.api for seen in sightings.seen} | {entry.api for entry in entries if entry.api is not None}


def tell(request_id: str, sightings: Sightings, entries: Sequence[Entry], lines: Sequence[LogLine]) -> RequestStory:
    """Raises NotFound when nobody knows anything of it."""
    if not (sightings.seen or entries or lines):
        raise NotFound(f"nothing is known of a request with the id {request_id[:128]}", hint=_how_far_back(sightings))
    return RequestStory(
        request_id=request_id,
        visits=tuple(_visit(seen) for seen in sorted(sightings.seen, key=lambda seen: seen.record.came_at)),
        gateway=tuple(_note(entry) for entry in entries),
        lines=tuple(lines[:MAX_LINES]),
    )


def _how_far_back(sightings: Sightings) -> str:
    since = sightings.since
    reach = "are all still known" if since is None else f"are known from {moment_text(since)} on"
    return (
        f"requests that were fast and fine {reach}, as long as their replica lives; others are kept longer. "
        "The id is in the answer's header x-request-id"
    )


def _visit(seen: SeenRequest) -> RequestVisit:
    record = seen.record
    return RequestVisit(
        api=seen.api,
        revision=seen.revision,
        replica=seen.replica,
        at=moment_text(record.came_at),
        outcome=cast("Outcome", record.outcome),
        status=record.status,
        method=record.method,
        path=record.path,
        attempt=record.attempt,
        held_s=record.held_s,
        held_refusals=record.held_refusals,
        queue_s=record.queue_s,
        batch_size=record.batch_size,
        handler_s=record.handler_s,
        response_bytes=record.response_bytes,
        trace_id=record.trace_id,
    )


def _note(entry: Entry) -> GatewayNote:
    return GatewayNote(
        at=entry.at,
        api=entry.api,
        method=entry.method,
        path=entry.path,
        status=entry.status or None,
        flags=entry.flags,
        meaning="; ".join(_MEANINGS[flag] for flag in entry.flags if flag in _MEANINGS),
        took_s=entry.took_s,
        response_bytes=entry.response_bytes,
        attempts=entry.attempts,
        replica=_replica_at(entry.last),
    )


def _replica_at(address: str | None) -> str | None:
    """A replica's socket is named like it."""
    if address is None:
        return None
    path = PurePath(address)
    return path.stem if path.suffix == ".data" else "activator"
