"""How traces are exported, from the variables that OpenTelemetry names. Pure; imports nothing of ours.

Nothing is traced unless an endpoint is set. As OpenTelemetry asks for, a value that cannot be used is told of and
ignored: telemetry must not keep anybody from serving.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

Pairs = tuple[tuple[str, str], ...]
Protocol = Literal["http/protobuf", "grpc"]

DEFAULT_TIMEOUT_S = 10.0

# OTEL_TRACES_SAMPLER -> whether a caller's decision counts, and whether the share is OTEL_TRACES_SAMPLER_ARG or fixed
_SAMPLERS: Mapping[str, tuple[bool, float | None]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}


@dataclass(frozen=True)
class TraceSettings:
    """`endpoint` is the URL that spans are sent to; of gRPC only its scheme, host and port count."""

    endpoint: str
    protocol: Protocol = "http/protobuf"
    headers: Pairs = field(default=(), repr=False)  # may hold an API key
    timeout_s: float = DEFAULT_TIMEOUT_S
    is_compressed: bool = False
    certificate: str | None = None  # a file of certificates to trust
    service_name: str | None = None  # of all spans; None: of the gateway and of each API its own
    resource: Pairs = ()  # attributes of all spans
    honours_parent: bool = True  # a caller that has decided whether to trace is followed
    share: float = 1.0  # of the other requests, how many are traced: 0 to 1
    complaints: tuple[str, ...] = ()  # about variables that were ignored

    @property
    def place(self) -> str:
        """The endpoint for people: without user, password and query."""
        parts = urlsplit(self.endpoint)
        port = f":{parts.port}" if parts.port is not None else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def trace_settings(environ: Mapping[str, str]) -> TraceSettings | None:
    """None: nothing is to be traced."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    complaints: list[str] = []
    protocol = _protocol(_get(environ, "PROTOCOL"), complaints)
    endpoint = _endpoint(environ, protocol, complaints)
    if endpoint is None:
        return None
    honours_parent, share = _sampling(environ, complaints)
    if not honours_parent and share == 0:
        return None
    resource = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), "OTEL_RESOURCE_ATTRIBUTES", complaints)
    named = dict(resource).get("service.name")
    return TraceSettings(
        endpoint=endpoint,
        protocol=protocol,
        headers=_headers(_get(environ, "HEADERS"), complaints),
        timeout_s=_timeout_s(_get(environ, "TIMEOUT"), complaints),
        is_compressed=_get(environ, "COMPRESSION").lower() == "gzip",
        certificate=_get(environ, "CERTIFICATE") or None,
        service_name=environ.get("OTEL_SERVICE_NAME", "").strip() or named,
        resource=tuple(pair for pair in resource if pair[0] != "service.name"),
        honours_parent=honours_parent,
        share=share,
        complaints=tuple(complaints),
    )


def _get(environ: Mapping[str, str], name: str) -> str:
    """The one for traces, or else the one for all signals."""
    given = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""
    return given.strip()


def _protocol(written: str, complaints: list[str]) -> Protocol:
    if written == "grpc":
        return "grpc"
    if written not in ("", "http/protobuf"):
        complaints.append(f"OTEL_EXPORTER_OTLP_PROTOCOL={written}: http/protobuf is used, or set grpc")
    return "http/protobuf"


def _endpoint(environ: Mapping[str, str], protocol: Protocol, complaints: list[str]) -> str | None:
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    written = own or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if not written:
        return None
    if protocol == "grpc" and "://" not in written:
        is_insecure = _get(environ, "INSECURE").lower() == "true"
        written = f"{'http' if is_insecure else 'https'}://{written}"
    try:
        parts = urlsplit(written)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # the port
        is_usable = False
    if not is_usable:
        complaints.append("OTEL_EXPORTER_OTLP_ENDPOINT is not a URL like http://localhost:4318: nothing is traced")
        return None
    return written if own or protocol == "grpc" else written.rstrip("/") + "/v1/traces"


def _sampling(environ: Mapping[str, str], complaints: list[str]) -> tuple[bool, float]:
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    if name not in _SAMPLERS:
        complaints.append(f"OTEL_TRACES_SAMPLER={name} is not known: parentbased_always_on is used")
        name = "parentbased_always_on"
    honours_parent, share = _SAMPLERS[name]
    return honours_parent, _share(environ.get("OTEL_TRACES_SAMPLER_ARG", ""), complaints) if share is None else share


def _share(written: str, complaints: list[str]) -> float:
    try:
        share = float(written or 1)
    except ValueError:
        share = -1
    if 0 <= share <= 1:
        return share
    complaints.append(f"OTEL_TRACES_SAMPLER_ARG={written} is not a share from 0 to 1: all are traced")
    return 1.0


def _timeout_s(written: str, complaints: list[str]) -> float:
    """It is written in milliseconds."""
    if not written:
        return DEFAULT_TIMEOUT_S
    if written.isdecimal() and int(written) > 0:
        return int(written) / 1000
    complaints.append(f"OTEL_EXPORTER_OTLP_TIMEOUT={written} is no number of milliseconds")
    return DEFAULT_TIMEOUT_S


def _headers(written: str, complaints: list[str]) -> Pairs:
    """Without those that no request could carry: libraries raise errors of their own for them, at the first span."""
    name = "OTEL_EXPORTER_OTLP_HEADERS"
    pairs = _pairs(written, name, complaints)
    usable = tuple((key, value) for key, value in pairs if _is_header(key, value))
    if usable != pairs:
        complaints.append(f"{name} has what cannot be a header; that is left out")  # it may be a secret
    return usable


def _is_header(key: str, value: str) -> bool:
    """Also for gRPC, where the values of names that end in -bin would be bytes."""
    is_name = re.fullmatch(r"[0-9A-Za-z_.-]+", key) is not None and not key.lower().endswith("-bin")
    return is_name and value.isascii() and value.isprintable()


def _pairs(written: str, name: str, complaints: list[str]) -> Pairs:
    """`a=1,b=two%20words`."""
    found = []
    for part in filter(None, (part.strip() for part in written.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            complaints.append(f"{name} is not a list like key=value,key=value")  # the value may be a secret
            return ()
        found.append((unquote(key.strip()), unquote(value.strip())))
    return tuple(found)
