"""The two ways of OTLP: an HTTP POST, or a unary gRPC call. Both raise Undelivered."""

from __future__ import annotations

import gzip
import ssl
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import grpc.aio
import httpx
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from hatchway.trace_settings import TraceSettings

GRPC_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

# What a receiver says that has no room now; all else it would say again.
_HTTP_RETRIED = frozenset({429, 502, 503, 504})
_GRPC_RETRIED = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class Undelivered(Exception):
    """`may_retry`: the same may be taken later."""

    def __init__(self, message: str, *, may_retry: bool) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class Sender(Protocol):
    async def send(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Raises Undelivered."""
        ...

    async def close(self) -> None: ...


def make_sender(settings: TraceSettings) -> Sender:
    """Raises OSError when the file of certificates cannot be read."""
    return GrpcSender(settings) if settings.protocol == "grpc" else HttpSender(settings)


class HttpSender:
    """OTLP over HTTP, with protobuf as the body."""

    def __init__(self, settings: TraceSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            headers={**dict(settings.headers), "content-type": "application/x-protobuf"},
            timeout=settings.timeout_s,
            verify=_trusting(settings.certificate),
        )

    async def send(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        body, encoding = request.SerializeToString(), {}
        if self._settings.is_compressed:
            body, encoding = gzip.compress(body, 1), {"content-encoding": "gzip"}
        try:
            answer = await self._client.post(self._settings.endpoint, content=body, headers=encoding)
        except httpx.HTTPError as exc:
            raise Undelivered(str(exc) or type(exc).__name__, may_retry=True) from exc
        if answer.status_code >= 300:
            raise Undelivered(f"answered {answer.status_code}", may_retry=answer.status_code in _HTTP_RETRIED)

    async def close(self) -> None:
        await self._client.aclose()


class GrpcSender:
    """OTLP over gRPC."""

    def __init__(self, settings: TraceSettings) -> None:
        parts = urlsplit(settings.endpoint)
        target = f"{parts.hostname}:{parts.port or 4317}"
        if parts.scheme == "https":
            trusted = None if settings.certificate is None else Path(settings.certificate).read_bytes()
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(trusted))
        else:
            self._channel = grpc.aio.insecure_channel(target)
        self._timeout_s = settings.timeout_s
        self._metadata = tuple((key.lower(), value) for key, value in settings.headers)
        self._compression = grpc.Compression.Gzip if settings.is_compressed else None
        self._export = self._channel.unary_unary(
            GRPC_METHOD,
            request_serializer=trace_service_pb2.ExportTraceServiceRequest.SerializeToString,
            response_deserializer=trace_service_pb2.ExportTraceServiceResponse.FromString,
        )

    async def send(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        try:
            await self._export(request, timeout=self._timeout_s, metadata=self._metadata, compression=self._compression)
        except grpc.aio.AioRpcError as exc:
            raise Undelivered(f"{exc.code().name}: {exc.details()}", may_retry=exc.code() in _GRPC_RETRIED) from exc

    async def close(self) -> None:
        await self._channel.close()


def _trusting(certificate: str | None) -> bool | ssl.SSLContext:
    if certificate is None:
        return True
    return ssl.create_default_context(cafile=certificate)
