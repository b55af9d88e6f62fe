"""What one request went through: the JSON contract of `why request ID`."""

from __future__ import annotations

from typing import Literal

from hatchway.spec.status import LogLine, Wire

Outcome = Literal["waiting", "running", "answered", "failed", "timed_out", "refused", "client_left"]


class RequestVisit(Wire):
    """A replica that a request reached, as the replica tells it."""

    api: str
    revision: str
    replica: str
    at: str  # when it came there; ISO 8601, UTC
    outcome: Outcome
    status: int | None  # of the answer; None: nothing was answered, or not yet
    method: str
    path: str  # as the handler sees it, cut at 200 characters
    attempt: int  # the gateway's, from 1 on
    held_s: float | None  # how long the activator held it before, because no replica could take it
    held_refusals: int  # and how often a replica refused it meanwhile
    queue_s: float  # until a slot was free
    batch_size: int | None  # how many requests ran together; None: without batching
    handler_s: float | None  # from then until all was over, so far for one that runs; None: it never had a slot
    response_bytes: int  # of the body
    trace_id: str | None = None


class GatewayNote(Wire):
    """What the gateway noted of a request that failed, was slow, lost its client or was tried again."""

    at: str  # when it came; ISO 8601, UTC
    api: str | None  # None: no API is served at its path
    method: str
    path: str
    status: int | None  # None: nothing was answered
    flags: tuple[str, ...]  # Envoy's words: DC, UC, UF, UH, UT, NR, ...
    meaning: str  # of the flags
    took_s: float
    response_bytes: int
    attempts: int
    replica: str | None  # the one that answered or was tried last; "activator": none could be reached


class RequestStory(Wire):
    """`why request ID -o json`. All requests that had this id are told, the oldest first."""

    request_id: str
    visits: tuple[RequestVisit, ...]
    gateway: tuple[GatewayNote, ...]
    lines: tuple[LogLine, ...]  # what was logged under its id, the first 200
