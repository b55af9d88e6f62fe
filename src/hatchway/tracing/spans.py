"""Reports of replicas and of Envoy as spans of OTLP. Pure.

One request in a replica is

    POST                 from its arrival until all was over     child of the gateway's span of this attempt
      queue              until a slot was free
      handler            from then on                            the user's own spans are below this one
    hold                 in the activator, before it came here   beside it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from hatchway import __version__
from hatchway.contract import TracedRequest, TraceReport
from hatchway.trace_settings import TraceSettings

GATEWAY_SERVICE = "hatchway-gateway"

# By their numbers: OpenTelemetry has renamed these two fields, and the generated classes that come with Envoy's are
# older than that. What is sent is the same.
_FIELD = trace_pb2.ResourceSpans.DESCRIPTOR.fields_by_number[2]
_SCOPE_SPANS, _SCOPE = _FIELD.name, _FIELD.message_type.fields_by_number[1].name

Value = str | int | float

_ERRORS = frozenset({"failed", "timed_out", "refused"})


def spans_of_replica(report: TraceReport, settings: TraceSettings) -> trace_pb2.ResourceSpans:
    """Raises ValueError for ids that are none."""
    resource = {
        "service.name": settings.service_name or report.api,
        "service.version": report.revision,
        "service.instance.id": report.replica,
        "hatchway.api": report.api,
        **dict(settings.resource),
    }
    found = trace_pb2.ResourceSpans(resource=resource_pb2.Resource(attributes=_attributes(resource)))
    scope = getattr(found, _SCOPE_SPANS).add()
    author = getattr(scope, _SCOPE)
    author.name, author.version = "hatchway", __version__
    for request in report.requests:
        scope.spans.extend(_spans(request))
    return found


def spans_of_envoy(
    request: trace_service_pb2.ExportTraceServiceRequest, settings: TraceSettings
) -> list[trace_pb2.ResourceSpans]:
    """What Envoy reports, with the operator's attributes."""
    wanted = {"service.name": settings.service_name or GATEWAY_SERVICE, **dict(settings.resource)}
    for one in request.resource_spans:
        kept = [attribute for attribute in one.resource.attributes if attribute.key not in wanted]
        del one.resource.attributes[:]
        one.resource.attributes.extend([*_attributes(wanted), *kept])
    return list(request.resource_spans)


def count_spans(found: trace_pb2.ResourceSpans) -> int:
    return sum(len(scope.spans) for scope in getattr(found, _SCOPE_SPANS))


def _spans(request: TracedRequest) -> list[trace_pb2.Span]:
    record = request.record
    slot_at = record.came_at + record.queue_s
    over_at = slot_at + (record.handler_s or 0.0)
    attributes: dict[str, Value | None] = {
        "http.request.method": record.method,
        "url.path": record.path.partition("?")[0],
        "http.response.status_code": record.status,
        "http.response.body.size": record.response_bytes,
        "hatchway.request_id": record.request_id,
        "hatchway.outcome": record.outcome,
        "hatchway.attempt": record.attempt,
        "hatchway.held_s": record.held_s,
        "hatchway.held_refusals": record.held_refusals or None,
    }
    whole = _span(request, record.method, request.parent_id, request.request_span_id, record.came_at, over_at)
    whole.kind = trace_pb2.Span.SPAN_KIND_SERVER
    whole.attributes.extend(_attributes(attributes))
    if record.outcome in _ERRORS or (record.status or 0) >= 500:
        whole.status.CopyFrom(trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR, message=record.outcome))
    spans = [whole]
    if record.held_s is not None:
        held_at = record.came_at - record.held_s
        spans.append(_span(request, "hold", request.parent_id, _derived(request, "hold"), held_at, record.came_at))
    own = request.request_span_id
    spans.append(_span(request, "queue", own, _derived(request, "queue"), record.came_at, slot_at))
    if record.handler_s is not None:
        handler = _span(request, "handler", own, request.handler_span_id, slot_at, over_at)
        handler.attributes.extend(_attributes({"hatchway.batch_size": record.batch_size}))
        spans.append(handler)
    return spans


def _span(
    request: TracedRequest, name: str, parent_id: str, span_id: str, start_s: float, end_s: float
) -> trace_pb2.Span:
    """Raises ValueError."""
    return trace_pb2.Span(
        trace_id=_bytes(request.record.trace_id or "", 16),
        span_id=_bytes(span_id, 8),
        parent_span_id=_bytes(parent_id, 8),
        trace_state=request.state,
        name=name,
        kind=trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=int(start_s * 1e9),
        end_time_unix_nano=int(end_s * 1e9),
    )


def _derived(request: TracedRequest, name: str) -> str:
    """An id for a span that nothing nests under: nobody had to know it before."""
    return hashlib.blake2b(f"{request.request_span_id} {name}".encode(), digest_size=8).hexdigest()


def _bytes(hexadecimal: str, size: int) -> bytes:
    found = bytes.fromhex(hexadecimal)
    if len(found) != size:
        raise ValueError(f"an id of {size} bytes was expected")
    return found


def _attributes(values: Mapping[str, Value | None]) -> list[common_pb2.KeyValue]:
    return [common_pb2.KeyValue(key=key, value=_value(value)) for key, value in values.items() if value is not None]


def _value(value: Value) -> common_pb2.AnyValue:
    if isinstance(value, str):
        return common_pb2.AnyValue(string_value=value)
    return common_pb2.AnyValue(int_value=value) if isinstance(value, int) else common_pb2.AnyValue(double_value=value)
