"""What is known of an API's predictions: the JSON contract of `GET /v1/apis/{name}/monitoring`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hatchway.spec.status import ApiStatus, Explanation, Wire

Verdict = Literal["ok", "drift", "too_few", "no_baseline", "disabled"]
Side = Literal["input", "output"]
BaselineSource = Literal["data", "first_period", "previous_revision", "accepted"]


class Histogram(Wire):
    """Counts between edges, of the window and of the baseline; one edge more than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    baseline: tuple[int, ...] | None = None


class FieldDrift(Wire):
    """How a field compares with the baseline. Of the last window that was judged."""

    verdict: str
    test: str | None = None
    statistic: float | None = None  # of the test: D, or chi-square
    p_value: float | None = None  # corrected for everything that was tested in this window
    effect: float | None = None  # at least this share of the values moved
    threshold: float | None = None  # the effect from which on it is drift
    explanation: str = ""
    since: str | None = None  # of drift: when the first window began that showed it; ISO 8601, UTC
    n_current: int = 0  # values on both sides
    n_baseline: int = 0


class FieldReport(Wire):
    """One field in the window. What does not go with its kind is None."""

    name: str  # "input.age", "output", "output.label"
    side: Side
    kind: str  # "numeric", "categorical", "text", "boolean", "other", "empty"
    count: int  # records, with and without a value
    missing: int
    types: dict[str, int]
    distinct: int | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    sd: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    histogram: Histogram | None = None
    top: tuple[tuple[str, int, int | None], ...] | None = None  # value as JSON, count, count in the baseline
    drift: FieldDrift | None = None


class AcceptedChange(Wire):
    """Somebody's word that a change is the new normal: `hatchway accept`. Times are ISO 8601, UTC."""

    at: str
    by: str  # user@host; "" when nobody said
    since: str  # the traffic from then on is the baseline of these fields
    fields: tuple[str, ...]
    undone_at: str | None = None
    undone_by: str = ""


class BaselineReport(Wire):
    """What the window is compared with: `source`, but for the fields of `accepted` that were not undone."""

    source: BaselineSource | None = None
    count: int = 0  # records in it
    accepted: tuple[AcceptedChange, ...] = ()  # the newest first


class ModelReport(Wire):
    """The predictions, as `monitoring.model_type` says; by default seen from the values."""

    type: Literal["classification", "regression"]
    field: str  # "output.label"
    classes: dict[str, int] | None = None  # of a classification: value as JSON -> how often
    min: float | None = None
    max: float | None = None
    mean: float | None = None


class LogReport(Wire):
    """The prediction log. `problem` says why nothing is written."""

    folder: str
    files: int = 0
    bytes: int = 0
    waiting_bytes: int = 0  # of predictions that are in no file yet
    dropped: int = 0  # predictions that came too fast to be kept
    problem: str = ""


class MonitoringReport(Wire):
    """`monitoring` of one API and revision over the last `window_s` seconds."""

    api: str
    revision: str
    window_s: float
    seen: int  # requests
    sampled: int  # of those looked at
    baseline: BaselineReport
    verdict: Verdict
    fields: tuple[FieldReport, ...]
    model: ModelReport | None = None
    log: LogReport | None = None


class DriftVerdict(Wire):
    """What the last judgement said of one field of an API."""

    api: str
    field: str  # "input.age"
    verdict: str
    score: float | None  # how much moved, in thresholds; above 1 exactly if it drifts
    explanation: str = ""


class ApiVerdict(Wire):
    """What the last judgement said of an API. `problems`: what keeps monitoring from doing what was asked for."""

    verdict: Verdict
    fields: tuple[DriftVerdict, ...] = ()
    problems: tuple[str, ...] = ()


class ApiExplanation(Explanation):
    """`why NAME -o json`: how an API is, how that came about, and what differs of what it is sent and answers."""

    drift: dict[str, FieldDrift] = Field(default_factory=dict)  # fields that drift: what happened, and the evidence


class ApiDetails(ApiStatus):
    """`get NAME -o json`: the status, and what is known of the predictions of the last hour."""

    monitoring: MonitoringReport | None = None  # null while nothing is known
