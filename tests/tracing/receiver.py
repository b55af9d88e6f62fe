"""A real OTLP receiver for tests: it takes spans over HTTP or gRPC, as a collector does, and keeps them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

WAIT_S = 30.0
SCOPE_SPANS = trace_pb2.ResourceSpans.DESCRIPTOR.fields_by_number[2].name  # it was renamed


@dataclass(frozen=True)
class Span:
    """One span with what its resource says."""

    name: str
    trace_id: str
    id: str
    parent_id: str
    start_s: float
    end_s: float
    is_error: bool
    state: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass
class Receiver:
    """`endpoint` is its URL. `answers` are the HTTP statuses of its next answers, then it takes what comes."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    answers: list[int] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: Any, headers: Mapping[str, str]) -> None:
        with self._changed:
            self.spans += read_spans(request)
            self.headers.append({key.lower(): value for key, value in headers.items()})
            self._changed.notify_all()

    def until(self, holds: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, as soon as something holds of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self.spans), WAIT_S):
                raise AssertionError(f"only these arrived: {self.spans}")
            return list(self.spans)

    def trace(self, trace_id: str, *names: str) -> dict[str, Span]:
        """The spans of a trace by name, once there are some of these names."""
        found = self.until(lambda spans: set(names) <= {span.name for span in spans if span.trace_id == trace_id})
        return {span.name: span for span in found if span.trace_id == trace_id}


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body), dict(self.headers))
            answer = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    def export(request: Any, context: Any) -> Any:
        receiver.take(request, dict(context.invocation_metadata()))
        return trace_service_pb2.ExportTraceServiceResponse()

    method = grpc.unary_unary_rpc_method_handler(
        export,
        trace_service_pb2.ExportTraceServiceRequest.FromString,
        trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


def read_spans(request: Any) -> list[Span]:
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            start_s=span.start_time_unix_nano / 1e9,
            end_s=span.end_time_unix_nano / 1e9,
            is_error=span.status.code == 2,
            state=span.trace_state,
            attributes=_values(span.attributes),
            resource=_values(of_one.resource.attributes),
        )
        for of_one in request.resource_spans
        for scope in getattr(of_one, SCOPE_SPANS)
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
