"""How an API was over the last hour at most, step by step: the JSON contract of `/v1/apis/{name}/timeline`."""

from __future__ import annotations

from hatchway.spec.status import Wire


class Timeline(Wire):
    """Columns of one length, one value a step, the oldest first. It begins at most an hour ago, and with the engine.

    Rates and percentiles are of the step, `in_flight` and what follows it of its end.
    """

    step_s: float
    start: float  # of the first step, in seconds since the epoch
    requests_per_s: tuple[float, ...] = ()  # answered, whatever the status
    errors_per_s: tuple[float, ...] = ()  # of those, with a 5xx status
    p50_ms: tuple[float | None, ...] = ()  # null where no request was answered
    p95_ms: tuple[float | None, ...] = ()
    p99_ms: tuple[float | None, ...] = ()
    in_flight: tuple[int, ...] = ()  # requests, queued and held ones included
    queued: tuple[int, ...] = ()  # of those, waiting in a replica's queue or held by the activator
    replicas_ready: tuple[int, ...] = ()
    replicas_wanted: tuple[int, ...] = ()


class Sparkline(Wire):
    """At most 60 steps of an API, the oldest first: what is drawn beside its name."""

    step_s: float
    start: float  # of the first step, in seconds since the epoch
    requests_per_s: tuple[float, ...] = ()
    errors_per_s: tuple[float, ...] = ()
