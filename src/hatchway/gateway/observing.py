"""What Envoy notes of requests: counts of all, a journal of those that something happened to, and spans of traced ones.

Pure.

The journal is an access log with a filter: what is fast and fine is not written, so it costs such a request the look
at the filter. It knows what replicas cannot tell: that none was reached, that one died, that a client left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hatchway.contract import HEADER_ATTEMPT, HEADER_REQUEST_ID, MAX_REQUEST_ID_CHARS
from hatchway.gateway.served import counting_log
from hatchway.trace_settings import TraceSettings

Json = dict[str, Any]

SLOW_MS = 1000  # requests that took longer are noted

TRACES_CLUSTER = "traces"  # where the engine takes spans
TRACES_URL = "http://engine/v1/traces"

_TYPES = "type.googleapis.com/"


@dataclass(frozen=True)
class Observing:
    """`journal`: the path of its file; None: nothing is noted. `traces` None: nothing is traced."""

    journal: str | None = None
    traces: TraceSettings | None = None

    def to_manager(self) -> Json:
        """Further fields of Envoy's connection manager."""
        fields: Json = {"access_log": counting_log()}
        if self.journal is not None:
            fields["access_log"].append(_journal(self.journal))
        if self.traces is not None:
            fields |= _tracing(self.traces)
        return fields


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


# --- traces --------------------------------------------------------------------------------------------------
def _tracing(settings: TraceSettings) -> Json:
    """Here it is decided whether a request is traced; replicas go by the flag in its `traceparent`.

    Each attempt is a span of its own, so that a refusal and what came of the next attempt are told apart. Without
    `pack_trace_reason` off, Envoy would write its decision into the ids of requests that callers chose.
    """
    tracer: Json = {
        "@type": _TYPES + "envoy.config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": {"uri": TRACES_URL, "cluster": TRACES_CLUSTER, "timeout": "2s"}},
        "service_name": settings.service_name or "hatchway-gateway",
        "sampler": _sampler(settings),
    }
    return {
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracer},
            # All are left to the sampler: with `pack_trace_reason` off a share that is given here has no effect.
            "random_sampling": {"value": 100},
            "client_sampling": {"value": 0},  # a header of Envoy's own decides nothing
            "spawn_upstream_span": True,
            "operation": "%REQ(:METHOD)%",
            "upstream_operation": "attempt %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "custom_tags": [{"tag": "hatchway.request_id", "request_header": {"name": HEADER_REQUEST_ID}}],
        },
        "request_id_extension": {
            "typed_config": {
                "@type": _TYPES + "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        },
    }


def _sampler(settings: TraceSettings) -> Json:
    """By the trace's id, so that others who go by the same share decide alike."""
    if settings.share >= 1:
        sampler = _extension("always_on", "AlwaysOnSamplerConfig")
    else:
        percentage = {"numerator": round(settings.share * 1_000_000), "denominator": "MILLION"}
        sampler = _extension(
            "trace_id_ratio_based", "TraceIdRatioBasedSamplerConfig", {"sampling_percentage": percentage}
        )
    if settings.honours_parent:
        sampler = _extension("parent_based", "ParentBasedSamplerConfig", {"wrapped_sampler": sampler})
    return sampler


def _extension(name: str, kind: str, fields: Json | None = None) -> Json:
    return {
        "name": f"envoy.tracers.opentelemetry.samplers.{name}",
        "typed_config": {
            "@type": f"{_TYPES}envoy.extensions.tracers.opentelemetry.samplers.v3.{kind}",
            **(fields or {}),
        },
    }
