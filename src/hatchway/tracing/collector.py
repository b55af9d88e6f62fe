"""Where spans are reported: a unix socket for Envoy, which speaks OTLP, and for the replicas, which send records."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hatchway.contract import TRACES_PATH, TraceReport
from hatchway.trace_settings import TraceSettings
from hatchway.tracing.exporter import Exporter
from hatchway.tracing.spans import spans_of_envoy, spans_of_replica

OTLP_PATH = "/v1/traces"
MAX_BODY_BYTES = 16 * 1024 * 1024


def make_collector(exporter: Exporter, settings: TraceSettings) -> Starlette:
    """The application on that socket."""

    async def from_envoy(request: Request) -> Response:
        body = await _body(request)
        try:
            found = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        except DecodeError:
            return Response(status_code=400)
        exporter.add(spans_of_envoy(found, settings))
        return Response(trace_service_pb2.ExportTraceServiceResponse().SerializeToString())

    async def from_replica(request: Request) -> Response:
        try:
            report = TraceReport.from_json(await _body(request))
            exporter.add([spans_of_replica(report, settings)])
        except (ValueError, KeyError, TypeError):  # of another version: it would send the same again
            exporter.count_dropped(1)
        else:
            exporter.count_dropped(report.dropped)
        return Response()

    return Starlette(
        routes=[
            Route(OTLP_PATH, from_envoy, methods=["POST"]),
            Route(TRACES_PATH, from_replica, methods=["POST"]),
        ]
    )


async def _body(request: Request) -> bytes:
    """Cut where it becomes too long, and so useless: nobody of ours sends as much."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            break
    return bytes(body)
