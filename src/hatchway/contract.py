"""What the control plane and a replica agree on. Standard library only; imports nothing of ours but errors.

A replica is started as

    PYTHON .../hatchway/replica/__main__.py LAUNCH_FILE

or forked from a template, which is started as

    PYTHON .../hatchway/replica/__main__.py --template TEMPLATE_FILE

with stdout and stderr on its log file, its own session, and the user's environment variables. `LAUNCH_FILE` is
the JSON form of `Launch`. The replica answers two unix sockets: `data_socket` speaks HTTP/1.1 to the gateway,
`control_socket` answers the control paths below, so that an overloaded replica never looks like a dead one. In a pod
both are HOST:PORT, and `last_words_path` is the container's termination log.

An engine adopts replicas whose `contract_version` is its own or one less.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

CONTRACT_VERSION = 1
OLDEST_ADOPTED_VERSION = 1

# Control socket: path -> answer (all JSON).
CONTROL_READY = "/ready"  # GET, ?wait_s=N long-polls: 200 {"state": "ready"}, else 503 {"state": ...}
CONTROL_LIVE = "/live"  # GET: 200 while the event loop turns
CONTROL_STATS = "/stats"  # GET: 200, the JSON form of ReplicaStats
CONTROL_METRICS = "/metrics"  # GET: 200 {"metrics": [...]}, the JSON forms of MetricSeries
CONTROL_REQUESTS = "/requests"  # GET ?id=ID: 200, the JSON form of FoundRequests. 404 from replicas that do not know it
CONTROL_MODULES = "/modules"  # GET: 200 {"modules": [...]}, what it imported from its Python's libraries, in order
CONTROL_DRAIN = "/drain"  # POST: 200; ready turns false, requests are still answered
CONTROL_RESUME = "/resume"  # POST: 200 {"state": ...}; takes a drain back. 404 from replicas that do not know it
# GET, ?terms=JSON of SampleTerms: 200, one line of JSON after another for as long as the listener stays (a newer one
# takes its place), nothing while there is nothing to tell. 404 from replicas that sample nothing.
CONTROL_SAMPLES = "/samples"

# Headers on the data path.
HEADER_REQUEST_ID = "x-request-id"
HEADER_REVISION = "x-hatchway-revision"
HEADER_OVERLOADED = "x-hatchway-overloaded"  # on a 503: refused before the handler saw it; Envoy may try another
HEADER_ATTEMPT = "x-envoy-attempt-count"  # from the gateway: on attempts after "1" HEADER_OVERLOADED is not set again
HEADER_ENDPOINT = "x-hatchway-endpoint"  # from the gateway: where it serves the API now; "/" or "/iris"
HEADER_MAX_BODY = "x-hatchway-max-body"  # from the gateway: how many bytes of body the API accepts now
HEADER_API = "x-hatchway-api"  # from the gateway: which API, and under which terms the activator holds its requests
HEADER_HELD = "x-hatchway-held"  # from the activator: "SECONDS REFUSALS", how long it held the request and retried it
HEADER_ORIGIN = "x-hatchway-origin"  # from the gateway: "replica", or "activator" if the request went by way of it
HEADER_TIMEOUT = "x-request-timeout"  # seconds the caller is willing to wait
HEADER_TRACE_PARENT = "traceparent"  # W3C trace context; from the gateway, if it traces at all
HEADER_TRACE_STATE = "tracestate"
MAX_REQUEST_ID_CHARS = 128

TRACES_PATH = "/replica"  # POST to Launch.traces_socket: the JSON form of TraceReport

# Exit codes of a replica process.
EXIT_OK = 0
EXIT_LOAD_FAILED = 70  # the handler cannot be loaded: starting it again would fail again
EXIT_WARMUP_FAILED = 71  # loaded, but the warm-up prediction failed
EXIT_CONTRACT = 72  # the launch file is of another contract version, or damaged
EXIT_OLD_PYTHON = 73  # the handler's Python is older than 3.11
EXIT_STUCK = 74  # a handler ran past its hard limit and could not be interrupted; replace the replica

# Every process of a home carries this variable, "HOME_HASH:ROLE:ID", so that a new engine finds its own.
PROCESS_VARIABLE = "HATCHWAY_PROCESS"

# Keys of one line of a replica's log. Lines that are not JSON (output of C code) are messages as they stand.
LOG_TIME = "time"  # ISO 8601 in UTC with milliseconds, "2026-01-31T12:00:00.123Z"
LOG_LEVEL = "level"  # DEBUG, INFO, WARNING, ERROR
LOG_STREAM = "stream"  # "stdout", "stderr" for prints; "logging" for log records; "replica" for our own
LOG_REQUEST_ID = "request_id"  # absent outside a request
LOG_TRACE_ID = "trace_id"  # 32 hexadecimal digits; absent when the request is not traced
LOG_MESSAGE = "message"  # text; a traceback keeps its newlines


@dataclass(frozen=True)
class Launch:
    """How a replica is told what to run. Exactly one of `path`, `app` and `model` is set."""

    api: str
    revision: str
    replica_id: str
    project_dir: str  # working directory, and first on sys.path
    data_socket: str  # a path, or HOST:PORT in a pod
    control_socket: str  # likewise
    last_words_path: str  # where a replica that gives up writes LastWords; without a traceback if the file is there
    path: str | None = None  # the handler's file, relative to project_dir
    class_name: str | None = None  # which class in it (default: Handler or PythonPredictor)
    function: str | None = None  # or which function in it
    app: str | None = None  # "module:attribute" of an ASGI application
    model: str | None = None  # a model's file or folder, relative to project_dir
    trusted_models: list[str] = field(default_factory=list)  # SHA-256 of those that may run code as they load
    python_path: str | None = None  # directory put on sys.path, relative to project_dir
    config: dict[str, Any] = field(default_factory=dict)
    max_concurrency: int | None = None  # None: 1 for sync handlers, 64 for async ones
    max_queue_length: int = 100
    batch_max_size: int | None = None  # the method gets lists of at most so many; None: one request at a time
    batch_max_wait_s: float = 0.0  # how long one is held back for others to join it
    timeout_s: float = 60.0  # until the first byte of the response
    warmup: Any = None  # payload of a prediction made before the replica is ready
    example: Any = None  # payload shown in the API's document
    log_level: str = "info"
    cpu_threads: int = 1  # size of the numeric libraries' thread pools
    endpoint: str = "/"  # where the gateway serves the API; an ASGI app's root_path; see HEADER_ENDPOINT
    max_body_bytes: int = 100 * 1024 * 1024  # see HEADER_MAX_BODY
    server_packages: str = ""  # directory with httptools, uvloop and orjson; imported before the user's paths
    asgi_packages: str | None = None  # directory with uvicorn and more, last on sys.path: it fills gaps
    samples: bool = True  # requests are looked at, until a listener on CONTROL_SAMPLES says otherwise
    traces_socket: str | None = None  # where traced requests are reported; None: nothing is traced
    plain_log: bool = False  # for `hatchway dev`: output and log are for a person at a terminal, not JSON records
    lifeline_fd: int | None = None  # likewise: an inherited pipe; the replica ends when its other end is closed
    contract_version: int = CONTRACT_VERSION

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """Raises ValueError when the text is damaged or of an unknown contract version."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("contract_version") != CONTRACT_VERSION:
            raise ValueError(f"launch file is not of contract version {CONTRACT_VERSION}")
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class TemplateLaunch:
    """How a template is told what to be: the JSON form of this is TEMPLATE_FILE."""

    socket: str  # where it takes requests
    exits_file: str  # where it writes how its children ended
    modules: list[str]  # what it imports, in this order
    server_packages: str = ""  # as in Launch
    opens_models: bool = False  # its replicas serve model files

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)


@dataclass(frozen=True)
class ForkRequest:
    """What a template is asked: a replica with this launch file, output and environment."""

    launch_file: str
    log_file: str
    environment: dict[str, str]


@dataclass(frozen=True)
class ReplicaStats:
    """What a replica says of itself on CONTROL_STATS."""

    state: str  # "starting", "ready" or "draining"
    in_flight: int  # admitted and not yet answered
    queued: int  # accepted and waiting for a slot
    requests: int  # answered since the start
    errors: int  # of those, with a 5xx of the handler's making
    refused: int  # answered 503 by admission
    max_concurrency: int
    max_queue_length: int
    handler: str  # for people: "class Handler (sync)", "function predict (async)", "ASGI app main:app"
    contract_version: int = CONTRACT_VERSION

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> ReplicaStats:
        data = json.loads(text)
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class RequestRecord:
    """What became of a request in a replica. Times are of the wall clock in seconds, spans in seconds."""

    request_id: str
    outcome: str  # "waiting", "running", "answered", "failed", "timed_out", "refused" or "client_left"
    method: str
    path: str  # as the replica sees it, the first 200 characters
    came_at: float
    queue_s: float  # from its arrival until its slot was free, or so far
    handler_s: float | None  # from then until all was over, or so far; None: it had no slot
    status: int | None  # of the answer; None: nothing was answered (yet)
    response_bytes: int  # of the body, so far
    batch_size: int | None  # how many requests ran together; None: without batching
    attempt: int  # of the gateway, from 1 on
    held_s: float | None  # in the activator, before it came here
    held_refusals: int  # by replicas, which the activator waited out
    trace_id: str | None = None


@dataclass(frozen=True)
class FoundRequests:
    """What a replica knows of a request's id, on CONTROL_REQUESTS."""

    requests: list[RequestRecord]
    since: float | None  # everything that was answered since then is known; seconds since the epoch. None: all

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> FoundRequests:
        data = json.loads(text)
        known = {f.name for f in dataclasses.fields(RequestRecord)}
        records = [RequestRecord(**{k: v for k, v in one.items() if k in known}) for one in data["requests"]]
        return cls(records, data["since"])


@dataclass(frozen=True)
class TracedRequest:
    """A request that is traced and over; its record has the trace's id. Other ids are 16 hexadecimal digits."""

    parent_id: str  # of the span that sent it here
    request_span_id: str  # of the span of all that happened here
    handler_span_id: str  # of the part that had a slot: the parent of the user's own spans
    state: str  # tracestate
    record: RequestRecord


@dataclass(frozen=True)
class TraceReport:
    """What a replica sends to the engine of traced requests."""

    api: str
    revision: str
    replica: str
    requests: list[TracedRequest]
    dropped: int  # requests whose report was given up since the last one that arrived

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> TraceReport:
        """Raises ValueError, KeyError or TypeError for what is none."""
        data = json.loads(text)
        requests = [TracedRequest(**{**one, "record": RequestRecord(**one["record"])}) for one in data["requests"]]
        return cls(data["api"], data["revision"], data["replica"], requests, data["dropped"])


@dataclass(frozen=True)
class MetricSeries:
    """One metric of a replica under one set of tags, on CONTROL_METRICS; counted since the replica's start.

    Counters and histograms of the same name and tags add up across replicas: `value` and each of the `buckets`,
    whose `bounds` are the same everywhere. A gauge is its own replica's.
    """

    name: str  # [A-Za-z_][A-Za-z0-9_]*; those of Hatchway's own begin with "hatchway_"
    kind: str  # "counter", "gauge" or "histogram"
    tags: dict[str, str]
    value: float  # the count, the last value, or the sum of the values
    bounds: list[float] = field(default_factory=list)  # of a histogram: upper bounds, inclusive, ascending
    buckets: list[int] = field(default_factory=list)  # values in each (not cumulated), and at last those above all


@dataclass(frozen=True)
class SampleTerms:
    """What a listener on CONTROL_SAMPLES is told of requests, and what of them never leaves the replica.

    A line is {"seen": requests, "sampled": of those looked at, "tables": {where: {"count": records, "columns": {field:
    [value, ...]}}}}; `where` is "input" or "output", or a list within them ("input.instances"). A record without a
    field has no value in its column. With `log`, "log" has [{"request_id", "at" (seconds since the epoch), "latency_s",
    "status", "input", "output" (texts, or null), "input_bytes", "output_bytes"}], and "log_dropped" says how many
    are missing there.
    """

    enabled: bool = True
    sample_rate: float = 1.0  # the share of requests that is looked at
    fields: list[str] | None = None  # of the input; None: all
    redact: list[str] = field(default_factory=list)  # fields of either side
    log: bool = False  # whether each sampled request is told of
    log_fields: list[str] | None = None  # that are told there; None: all

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SampleTerms:
        """Raises ValueError or TypeError. What a newer control plane adds is ignored."""
        data = json.loads(text)
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class LastWords:
    """Why a replica gave up, written to `last_words_path` before it exits with a meaningful code."""

    reason: str  # stable word: ImportError, HandlerNotFound, BadSignature, InitFailed, WarmupFailed, Stuck, ...
    message: str  # one or two lines that name class, method, file and line
    traceback: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LastWords:
        data = json.loads(text)
        return cls(str(data["reason"]), str(data["message"]), str(data.get("traceback", "")))
