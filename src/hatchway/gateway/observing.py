"""What Envoy notes of requests: a journal of those that something happened to, and spans of traced ones. Pure.

The journal is an access log with a filter: what is fast and fine is not written, so it costs such a request the look
at the filter. It knows what replicas cannot tell: that none was reached, that one died, that a client left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hatchway.contract import HEADER_ATTEMPT, HEADER_REQUEST_ID, MAX_REQUEST_ID_CHARS

Json = dict[str, Any]

SLOW_MS = 1000  # requests that took longer are noted

_TYPES = "type.googleapis.com/"


@dataclass(frozen=True)
class Observing:
    """`journal`: the path of its file; None: nothing is noted."""

    journal: str | None = None

    def to_manager(self) -> Json:
        """Further fields of Envoy's connection manager."""
        return {"access_log": [_journal(self.journal)]} if self.journal is not None else {}


NOTHING = Observing()


def _journal(path: str) -> Json:
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"or_filter": {"filters": [_failed(), _had_trouble(), _was_slow(), _was_retried()]}},
        "typed_config": {
            "@type": _TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {
                "json_format": {
                    "request_id": f"%REQ({HEADER_REQUEST_ID}):{MAX_REQUEST_ID_CHARS}%",
                    "at": "%START_TIME%",
                    "method": "%REQ(:METHOD)%",
                    "path": "%REQ(:PATH):200%",  # without the endpoint, as the replica sees it
                    "status": "%RESPONSE_CODE%",
                    "flags": "%RESPONSE_FLAGS%",
                    "detail": "%RESPONSE_CODE_DETAILS%",
                    "took_ms": "%DURATION%",
                    "response_bytes": "%BYTES_SENT%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "cluster": "%UPSTREAM_CLUSTER_RAW%",
                    "last": "%UPSTREAM_HOST%",
                }
            },
        },
    }


def _failed() -> Json:
    return {
        "status_code_filter": {
            "comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "hatchway.journal_status"}}
        }
    }


def _had_trouble() -> Json:
    """Envoy has a word for what happened: the client left, no replica could be reached, no API is at this path, ..."""
    return {"response_flag_filter": {}}


def _was_slow() -> Json:
    slow = {"default_value": SLOW_MS, "runtime_key": "hatchway.journal_slow_ms"}
    return {"duration_filter": {"comparison": {"op": "GE", "value": slow}}}


def _was_retried() -> Json:
    return {"header_filter": {"header": {"name": HEADER_ATTEMPT, "range_match": {"start": 2, "end": 1_000_000}}}}
