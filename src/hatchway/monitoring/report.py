"""From sketches to the report that people and pages read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, cast

from pydantic import Field

from hatchway.monitoring.panes import Pane
from hatchway.monitoring.sketches import FieldSketch, Numbers
from hatchway.monitoring.store import Acceptance, Baseline
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import (
    AcceptedChange,
    BaselineReport,
    BaselineSource,
    FieldDrift,
    FieldReport,
    Histogram,
    LogReport,
    ModelReport,
    MonitoringReport,
    Side,
    Verdict,
)
from hatchway.spec.status import Wire

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 20
TAIL = 0.005  # of the values on each side that do not stretch the histogram
TOP = 10
LABELS = ("output.label", "output.prediction", "output")  # where a prediction stands if no key says so


class Judgement(Wire):
    """What was found the last time that a revision was judged, and by which baseline."""

    verdict: Verdict
    fields: dict[str, FieldDrift] = Field(default_factory=dict)
    source: BaselineSource | None = None


@dataclass(frozen=True)
class Subject:
    """What a report is about."""

    api: str
    revision: str
    window_s: float
    watched: Watched


@dataclass(frozen=True)
class Compared:
    """What a window is compared with: all fields with `baseline`, but for those that `accepted` has."""

    baseline: Baseline | None
    accepted: Baseline | None = None
    changes: Sequence[Acceptance] = ()  # the newest first

    def fields(self) -> dict[str, FieldSketch]:
        return {
            name: one
            for each in (self.baseline, self.accepted)
            if each is not None
            for name, one in each.fields.items()
        }

    def report(self) -> BaselineReport:
        return BaselineReport(
            source=None if self.baseline is None else self.baseline.source,
            count=0 if self.baseline is None else self.baseline.count,
            accepted=tuple(to_accepted(one) for one in self.changes),
        )


def to_accepted(one: Acceptance) -> AcceptedChange:
    return AcceptedChange(
        at=to_iso(one.at_s),
        by=one.by,
        since=to_iso(min(one.since_s.values())),
        fields=tuple(sorted(one.since_s)),
        undone_at=None if one.undone_at_s is None else to_iso(one.undone_at_s),
        undone_by=one.undone_by,
    )


def make_report(
    subject: Subject, pane: Pane, compared: Compared, judgement: Judgement, log: LogReport | None
) -> MonitoringReport:
    known = compared.fields()
    gone = {name for name, one in judgement.fields.items() if one.verdict == "drift"} - pane.fields.keys()
    fields = {**pane.fields, **{name: FieldSketch() for name in gone}}
    names = sorted(fields, key=lambda name: (_side(name) == "output", name))
    return MonitoringReport(
        api=subject.api,
        revision=subject.revision,
        window_s=subject.window_s,
        seen=pane.seen,
        sampled=pane.sampled,
        baseline=compared.report(),
        verdict=judgement.verdict,
        fields=tuple(_field(name, fields[name], known.get(name), judgement.fields.get(name)) for name in names),
        model=_model(pane.fields, subject.watched),
        log=log,
    )


def records(fields: Mapping[str, FieldSketch]) -> int:
    return max((sketch.count for sketch in fields.values()), default=0)


def to_iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _side(name: str) -> Side:
    return "output" if name.partition(".")[0] == "output" else "input"


def _field(name: str, sketch: FieldSketch, base: FieldSketch | None, drift: FieldDrift | None) -> FieldReport:
    kind = sketch.kind
    numbers = sketch.numeric if kind == "numeric" or sketch.types.get("number") else None
    return FieldReport(
        name=name,
        side=_side(name),
        kind=kind,
        count=sketch.count,
        missing=sketch.missing,
        types=dict(sketch.types),
        distinct=sketch.distinct,
        min=None if numbers is None else numbers.low,
        max=None if numbers is None else numbers.high,
        mean=None if numbers is None else numbers.mean,
        sd=None if numbers is None else numbers.sd,
        quantiles=() if numbers is None else tuple(zip(QUANTILES, numbers.at(QUANTILES), strict=True)),
        histogram=_histogram(numbers, None if base is None else base.numeric) if kind == "numeric" else None,
        top=_top(sketch, base) if kind in ("categorical", "boolean") else None,
        drift=drift,
    )


def _histogram(numbers: Numbers | None, base: Numbers | None) -> Histogram | None:
    if numbers is None:
        return None
    ends = [end for one in (numbers, base) if one is not None for end in one.at((TAIL, 1 - TAIL))]
    low, high = min(ends), max(ends)
    step = (high - low) / BINS
    edges = [low + step * place for place in range(BINS)] + [high]
    if not step > 0 or any(
        right <= left for left, right in pairwise(edges)
    ):  # one value only, or too close to tell apart
        edges = [low, high]
    return Histogram(
        edges=tuple(edges),
        counts=tuple(numbers.histogram(edges)),
        baseline=None if base is None else tuple(base.histogram(edges)),
    )


def _top(sketch: FieldSketch, base: FieldSketch | None) -> tuple[tuple[str, int, int | None], ...]:
    categories = sketch.categories
    known = None if base is None else base.categories
    if categories is None:
        return ()
    return tuple(
        (value, count, None if known is None else known.counts.get(value, 0)) for value, count in categories.top(TOP)
    )


def _model(fields: Mapping[str, FieldSketch], watched: Watched) -> ModelReport | None:
    for name in _predictions(watched):
        sketch = fields.get(name)
        if sketch is None or not sketch.present:
            continue
        seen = "regression" if sketch.kind == "numeric" else "classification"
        kind = cast('Literal["classification", "regression"]', watched.model_type or seen)
        if kind == "classification":
            categories = sketch.categories
            if categories is not None:
                return ModelReport(type=kind, field=name, classes=dict(categories.counts))
        elif sketch.numeric is not None:
            numbers = sketch.numeric
            return ModelReport(type=kind, field=name, min=numbers.low, max=numbers.high, mean=numbers.mean)
    return None


def _predictions(watched: Watched) -> Iterator[str]:
    if watched.key is not None:
        yield f"output.{watched.key}"
    else:
        yield from LABELS
