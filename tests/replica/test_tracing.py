"""What a replica does with a request that is traced."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from hatchway.contract import TRACES_PATH, TraceReport
from hatchway.replica.tracing import trace_of
from tests.replica.running import a_replica

TRACE_ID, PARENT_ID = "ab" * 16, "01" * 8
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"

SYNC = """
import logging
import opentelemetry.trace

class Handler:
    def handle_post(self, payload, headers):
        print("printed")
        logging.getLogger("mine").warning("logged")
        span = opentelemetry.trace.get_current_span().get_span_context()
        if payload == "fail":
            raise ValueError("no")
        return [headers.get("traceparent"), f"{span.trace_id:032x}-{span.span_id:016x}", span.trace_state.to_header()]
"""
ASYNC = SYNC.replace("def handle_post", "async def handle_post")
BATCHED = """
import opentelemetry.trace

class Handler:
    def __init__(self, config):
        self.fifo = config["fifo"]

    def handle_post(self, payload):
        print("printed", payload)
        if "hold" in payload:
            open(self.fifo).read()
        span = opentelemetry.trace.get_current_span().get_span_context()
        return [f"{span.span_id:016x}"] * len(payload)
"""


class Collector:
    """Stands for the engine; `refuses` so many reports first."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.reports: list[TraceReport] = []
        self.changed = threading.Condition()

    def until(self, count: int) -> list[TraceReport]:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(len(one.requests) for one in self.reports) >= count, 30)
            return self.reports

    def take(self, report: TraceReport) -> None:
        with self.changed:
            self.reports.append(report)
            self.changed.notify_all()


@pytest.fixture
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    made = Collector(f"/tmp/hwt{os.getpid()}.sock")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == TRACES_PATH
            made.take(TraceReport.from_json(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def address_string(self) -> str:
            return ""

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingUnixStreamServer(made.path, Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
    Path(made.path).unlink()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"nonsense",
        f"00-{TRACE_ID}-{PARENT_ID}-00".encode(),  # not sampled
        f"00-{'0' * 32}-{PARENT_ID}-01".encode(),
        f"00-{TRACE_ID}-{'0' * 16}-01".encode(),
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01".encode(),
    ],
)
def test_what_is_not_traced(header: bytes) -> None:
    assert trace_of({b"traceparent": header}) is None


def test_a_state_that_is_too_long_is_not_kept() -> None:
    header = f"00-{TRACE_ID}-{PARENT_ID}-01".encode()
    kept = [
        trace.state for size in (512, 513) if (trace := trace_of({b"traceparent": header, b"tracestate": b"x" * size}))
    ]
    assert kept == ["x" * 512, ""]


def test_a_later_version_of_the_header_is_understood() -> None:
    trace = trace_of({b"traceparent": f"01-{TRACE_ID}-{PARENT_ID}-03-more".encode(), b"tracestate": b"a=1"})
    assert trace is not None
    assert (trace.trace_id, trace.parent_id, trace.state) == (TRACE_ID, PARENT_ID, "a=1")


@pytest.mark.parametrize("handler", [SYNC, ASYNC])
def test_a_traced_request_is_reported_and_known_to_its_handler(handler: str, collector: Collector) -> None:
    with a_replica(handler, traces_socket=collector.path) as replica:
        passed_on, nested, state = replica.post({}, traceparent=PARENT, tracestate="vendor=1").json()
        replica.post("fail", traceparent=PARENT)
        (first, failed) = [request for report in collector.until(2) for request in report.requests]
        assert (first.parent_id, first.state, first.record.trace_id) == (PARENT_ID, "vendor=1", TRACE_ID)
        assert (first.record.status, failed.record.status) == (200, 500)
        assert passed_on == f"00-{TRACE_ID}-{first.handler_span_id}-01"
        assert nested == f"{TRACE_ID}-{first.handler_span_id}"
        assert state == "vendor=1"
        lines = replica.records(trace_id=TRACE_ID)
        assert [line["message"] for line in lines][:2] == ["printed", "mine: logged"]
        assert any("ValueError: no" in line["message"] for line in lines)


def test_without_a_decision_nothing_is_reported(collector: Collector) -> None:
    with a_replica(SYNC, traces_socket=collector.path) as replica:
        unsampled = f"00-{TRACE_ID}-{PARENT_ID}-00"
        assert replica.post({}, traceparent=unsampled).json()[0] == unsampled
        replica.post({}, traceparent=PARENT)
        assert [len(report.requests) for report in collector.until(1)] == [1]


def test_where_traces_are_off_headers_pass_as_they_are() -> None:
    with a_replica(SYNC) as replica:
        passed_on, nested, _ = replica.post({}, traceparent=PARENT).json()
        assert passed_on == PARENT
        assert nested == f"{0:032x}-{0:016x}"
        assert replica.records(trace_id=TRACE_ID) == []


def test_a_batch_of_several_traces_is_told_in_the_first(collector: Collector, tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    others = [f"00-{number:032x}-{PARENT_ID}-01" for number in (1, 2)]
    with (
        a_replica(BATCHED, traces_socket=collector.path, batch_max_size=8, config={"fifo": fifo}) as replica,
        ThreadPoolExecutor() as pool,
    ):
        held = pool.submit(replica.post, "hold", traceparent=PARENT)
        replica.until(in_flight=1, queued=0)
        answers = []
        for number, parent in enumerate(others, start=1):
            answers.append(pool.submit(replica.post, number, traceparent=parent))
            replica.until(queued=number)
        with open(fifo, "w") as file:
            file.write("go")
        by_trace = {one.record.trace_id: one for report in collector.until(3) for one in report.requests}
        first = by_trace[f"{1:032x}"]
        assert held.result().text == by_trace[TRACE_ID].handler_span_id
        assert [answer.result().text for answer in answers] == [first.handler_span_id] * 2
        assert first.record.batch_size == 2
        assert len(replica.records(message="printed ['hold']", trace_id=TRACE_ID)) == 1
        assert "trace_id" not in replica.records(message="printed [1, 2]")[0]


def test_what_was_not_reported_yet_is_when_the_replica_stops(collector: Collector) -> None:
    with a_replica(SYNC, traces_socket=collector.path) as replica:
        replica.post({}, traceparent=PARENT)
        replica.terminate()
        assert replica.ended() == 0
    assert [len(report.requests) for report in collector.reports] == [1]


def test_no_engine_holds_nobody_up(tmp_path: Path) -> None:
    with a_replica(SYNC, traces_socket=str(tmp_path / "nobody")) as replica:
        answers: list[Any] = [replica.post({}, traceparent=PARENT).status for _ in range(10)]
        assert set(answers) == {200}
        replica.terminate()
        assert replica.ended() == 0
        assert replica.messages(level="ERROR") == []
