"""What the judgement of predictions says, in words for people: one line, and the evidence of each field that drifts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hatchway.cli.output import Cell, format_moment

if TYPE_CHECKING:
    from hatchway.spec.monitoring import AcceptedChange, FieldDrift, FieldReport, MonitoringReport

TESTS = {"ks": ("Kolmogorov-Smirnov", "D"), "chi2": ("chi-square", "X2")}


def verdict_cell(report: MonitoringReport) -> Cell:
    """The verdict on an API."""
    if report.verdict == "drift":
        n = len(drifting(report.fields))
        return Cell(f"drift: {n} of {len(report.fields)} fields differ{'s' * (n == 1)} from the baseline", "red")
    if report.verdict == "ok":
        return Cell("as in the baseline", "green")
    if report.verdict == "no_baseline":
        told = {field.drift.explanation for field in report.fields if field.drift is not None}
        why = next((f", {text}" for text in sorted(told) if "being learnt" in text), "")
        return Cell(f"no baseline yet{why}", "dim")
    return Cell({"too_few": "too few requests to judge", "disabled": "not monitored"}[report.verdict], "dim")


def drifting(fields: Sequence[FieldReport]) -> dict[str, FieldDrift]:
    """Field -> what is known of its drift."""
    return {field.name: field.drift for field in fields if field.drift is not None and field.drift.verdict == "drift"}


def what_happened(drift: FieldDrift, now: float) -> str:
    """ "since 14:05: median 41 -> 52; 31 % of the values moved"."""
    since = f"since {format_moment(drift.since, now)}: " if drift.since else ""
    return f"{since}{drift.explanation or 'it differs'}"


def evidence(drift: FieldDrift) -> Iterator[str]:
    """What a statistician asks."""
    if drift.threshold is not None:
        yield (
            f"from {drift.threshold:.2g} on it is drift"
            if drift.effect is None
            else (f"{_percent(drift.effect)} moved, from {_percent(drift.threshold)} on it is drift")
        )
    if drift.test is not None and drift.statistic is not None:
        test, letter = TESTS.get(drift.test, (drift.test, "statistic"))
        chance = "" if drift.p_value is None else f", p = {drift.p_value:.2g} after correction for all fields"
        yield f"{test} {letter} = {drift.statistic:.3g}{chance}"
    if drift.n_current:
        yield f"{drift.n_current:,} values against {drift.n_baseline:,}"


def accepted_text(change: AcceptedChange, now: float) -> str:
    """ "input.age as it is since 09:00 accepted by ada@lab"."""
    by = f" by {change.by}" if change.by else ""
    return f"{', '.join(change.fields)} as it is since {format_moment(change.since, now)} accepted{by}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
