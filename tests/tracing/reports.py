"""What a replica reports, for tests."""

from __future__ import annotations

from typing import Any

from hatchway.contract import RequestRecord, TracedRequest, TraceReport

TRACE_ID = "ab" * 16
PARENT_ID, REQUEST_ID, HANDLER_ID = "01" * 8, "02" * 8, "03" * 8


def a_report(*, dropped: int = 0, count: int = 1, **changes: Any) -> TraceReport:
    fields: dict[str, Any] = {
        "request_id": "q", "outcome": "answered", "method": "POST", "path": "/x?secret=1", "came_at": 100.0,
        "queue_s": 0.5, "handler_s": 1.5, "status": 200, "response_bytes": 5, "batch_size": None, "attempt": 1,
        "held_s": None, "held_refusals": 0, "trace_id": TRACE_ID,
    }  # fmt: skip
    request = TracedRequest(PARENT_ID, REQUEST_ID, HANDLER_ID, "vendor=1", RequestRecord(**{**fields, **changes}))
    return TraceReport("iris", "r1", "iris-a", [request] * count, dropped)
