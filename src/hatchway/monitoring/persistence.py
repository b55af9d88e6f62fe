"""A verdict changes only when windows in a row agree. Pure.

One odd window is an incident, a batch, a test of somebody; drift stays. So drift is called at the third window in a row
that shows it, and called off at the third in a row that does not: a field at the edge does not flap. Windows with too
few values say nothing and change nothing.

Three because of what was never seen: a kind of window that none of the 168 of a week was may still be one of 60 (the
rule of three). Two of them in a row are then to be expected each month for one of 50 fields, three in a row hardly
ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from hatchway.monitoring.drift import FieldVerdict, Report, overall

CONFIRMING_WINDOWS = 3
CONFIRMING_EARLY = 6  # while the baseline is a day or two: what it has never seen may be one window of eight


@dataclass(frozen=True)
class Standing:
    """What is remembered of a field between windows: plain values, to be kept as JSON.

    `against` counts the windows in a row that contradict what is held now. `since_s` is the start of the first window
    that showed the drift that is held, or that the last ones speak for.
    """

    is_drifting: bool = False
    against: int = 0
    since_s: float | None = None


def settle(
    standings: Mapping[str, Standing], window: Report, start_s: float, early: Collection[str] = ()
) -> tuple[dict[str, Standing], Report]:
    """What to remember, and the report with the verdicts that hold, after one more window, which began at `start_s`.

    `early`: fields whose baseline is a day or two, so that more windows in a row have to call drift.
    """
    after = {
        name: _follow(
            standings.get(name, Standing()), field, start_s, CONFIRMING_EARLY if name in early else CONFIRMING_WINDOWS
        )
        for name, field in window.fields.items()
    }
    fields = {name: _held(after[name], field) for name, field in window.fields.items()}
    kept = {name: standing for name, standing in standings.items() if name not in after}
    return kept | after, Report(overall([field.verdict for field in fields.values()]), fields)


def _follow(standing: Standing, field: FieldVerdict, start_s: float, confirming: int) -> Standing:
    if field.verdict not in ("ok", "drift"):
        return standing
    if standing.is_drifting:
        if field.verdict == "drift":
            return replace(standing, against=0)
        over = standing.against + 1 >= CONFIRMING_WINDOWS
        return Standing() if over else replace(standing, against=standing.against + 1)
    if field.verdict == "ok":
        return Standing()
    against, since_s = standing.against + 1, standing.since_s if standing.against else start_s
    return Standing(is_drifting=True, since_s=since_s) if against >= confirming else Standing(False, against, since_s)


def _held(standing: Standing, field: FieldVerdict) -> FieldVerdict:
    if field.verdict == "no_baseline":
        return field
    if standing.is_drifting:
        field = replace(field, since_s=standing.since_s)
    if standing.is_drifting and field.verdict != "drift":
        why = "too few values since" if field.verdict == "too_few" else "not so in the last window"
        return replace(field, verdict="drift", explanation=f"{field.explanation} ({why})")
    if not standing.is_drifting and field.verdict == "drift":
        return replace(field, verdict="ok", explanation=f"{field.explanation} (drift if the next windows agree)")
    return field
