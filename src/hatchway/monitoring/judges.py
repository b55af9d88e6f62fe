"""Judges the windows of each API's watched revision as they end, each once, and keeps what was found.

What drift is, is decided in `judging.py`; here it gets the windows and the memory that it needs, from the store. A look
is taken in three steps: what is due, the look itself, which may be in another thread, and keeping what was found.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hatchway.monitoring import judging
from hatchway.monitoring.accepting import in_force, inherited, judged_again
from hatchway.monitoring.baseline import Window
from hatchway.monitoring.drift import FieldVerdict, Rules
from hatchway.monitoring.judging import Look
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.periods import Known
from hatchway.monitoring.report import Judgement, records, to_iso
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.store import HOUR_S, Acceptance, Baseline, Judged, PaneStore
from hatchway.monitoring.terms import DriftTerms, Watched
from hatchway.monitoring.windows import Windows
from hatchway.spec.monitoring import FieldDrift

log = logging.getLogger("monitor")

MAX_NAMED = 5


@dataclass(frozen=True)
class Due:
    """A window that is to be judged, and what was known when that was seen."""

    api: str
    watched: Watched
    start_s: float
    rules: Rules
    judged: Judged | None
    accepted: tuple[Acceptance, ...]
    inherited: tuple[Acceptance, ...] = ()  # of the revision before, with the first window of this one


class Judges:
    """Of all APIs, over one store."""

    def __init__(self, store: PaneStore) -> None:
        self._store = store
        self._failed: dict[str, str] = {}  # origin of training data that cannot be used -> why

    # --- training data -----------------------------------------------------------------------------------
    def unread(self, apis: Mapping[str, Watched]) -> Iterator[tuple[str, Watched, Path]]:
        """The files of training data that have to be read, some of them perhaps long."""
        for api, watched in apis.items():
            if watched.baseline is None or not watched.terms.enabled or _origin(watched.baseline) in self._failed:
                continue
            kept = self._store.baseline(api, watched.revision, "data")
            if kept is None or kept.origin != _origin(watched.baseline):
                yield api, watched, Path(watched.baseline)

    def take_data(self, api: str, watched: Watched, fields: Mapping[str, FieldSketch]) -> None:
        """The training data of this revision is this."""
        assert watched.baseline is not None
        baseline = Baseline("data", fields, records(fields), _origin(watched.baseline))
        self._store.save_baseline(api, watched.revision, baseline)

    def refuse_data(self, watched: Watched, why: str) -> None:
        """It cannot be used, until the file is another one."""
        assert watched.baseline is not None
        log.error("%s", why)
        self._failed[_origin(watched.baseline)] = why

    def problem(self, api: str, watched: Watched, seen: Collection[str]) -> str:
        """Why the training data is of no use, or "". `seen`: the fields that requests and answers have."""
        if watched.baseline is None:
            return ""
        columns = self._store.baseline_fields(api, watched.revision, "data")
        if not columns or not seen or columns & set(seen):
            return self._failed.get(_origin(watched.baseline), "")
        named = sorted(name for name in columns if not name.removeprefix("input.").isdigit())
        return (
            f"{api}: no column of {Path(watched.baseline).name} is a field that requests or answers have: "
            f"it is read as {_some(named)}; they have {_some(sorted(seen))}"
        )

    # --- windows -----------------------------------------------------------------------------------------
    def due(self, apis: Mapping[str, Watched], until_s: float) -> Due | None:
        """The window that is to be judged next, of those that were over at `until_s`."""
        for api, watched in apis.items():
            if watched.terms.enabled and self._is_read(api, watched):
                rules = to_rules(watched.drift)
                judged = self._store.judged(api, watched.revision)
                done_s = -1 if judged is None else judged.start_s
                for start_s in Windows(self._store, api, rules.window_s).starts_s(watched.revision):
                    if done_s < start_s <= until_s - rules.window_s:
                        accepted = tuple(self._store.accepted(api, watched.revision))
                        is_new = judged is None and not accepted
                        former = inherited(self._store, api, watched.revision, start_s) if is_new else ()
                        return Due(api, watched, start_s, rules, judged, accepted, former)
        return None

    def _is_read(self, api: str, watched: Watched) -> bool:
        """Whether training data, if there is any, was read, or cannot be."""
        if watched.baseline is None or _origin(watched.baseline) in self._failed:
            return True
        return bool(self._store.baseline_fields(api, watched.revision, "data"))

    def look(self, due: Due, store: PaneStore) -> Look:
        """What is found there. Only reads, from `store`, and takes seconds when something is to be learnt."""
        api, watched = due.api, due.watched
        memory = Memory() if due.judged is None else Memory.read(due.judged.memory)
        windows = Windows(store, api, due.rules.window_s)
        data = None if watched.baseline is None else store.baseline(api, watched.revision, "data")
        former = next((each for each in store.revisions(api) if each != watched.revision), None)
        known = Known(
            windows.traffic(watched.revision, due.start_s, is_first=former is None),
            None if data is None else data.fields,
            None if former is None else windows.traffic(former, due.start_s, is_first=True),
            in_force((*due.inherited, *due.accepted)),
        )
        window = next(windows.load(watched.revision, [due.start_s], None), Window(due.start_s, {}))
        return judging.look(memory, window, known, due.rules)

    def keep(self, due: Due, found: Look) -> Judgement | None:
        """Make it the last judgement; None if it was found by what does not hold any more."""
        api, revision = due.api, due.watched.revision
        accepted = self._store.accepted(api, revision)
        if self._store.judged(api, revision) != due.judged or tuple(accepted) != due.accepted:
            return None
        judgement = Judgement(
            verdict=found.report.verdict,
            fields={name: _to_drift(field) for name, field in found.report.fields.items()},
            source=found.source,
        )
        for source, fields in found.baselines.items():
            if source != "data":
                self._store.save_baseline(api, revision, Baseline(source, fields, records(fields)))
        for one in reversed(due.inherited):
            self._store.add_accepted(api, revision, one)
        last_hour_s = int(due.start_s + due.rules.window_s) - HOUR_S
        self._store.save_judged(api, revision, Judged(last_hour_s, found.memory.to_json(), judgement.model_dump_json()))
        return judgement

    def judgement(self, api: str, watched: Watched) -> Judgement:
        """The last one of the watched revision."""
        if not watched.terms.enabled:
            return Judgement(verdict="disabled")
        judged = self._store.judged(api, watched.revision)
        if judged is not None:
            return Judgement.model_validate_json(judged.judgement)
        has_data = watched.baseline is not None and self._store.baseline(api, watched.revision, "data") is not None
        return Judgement(verdict="too_few", source="data") if has_data else Judgement(verdict="no_baseline")

    # --- what changes the view ---------------------------------------------------------------------------
    def follow(self, apis: Mapping[str, Watched]) -> None:
        """Where other rules hold than before, the last windows are judged again."""
        for api, watched in apis.items():
            judged = self._store.judged(api, watched.revision)
            if judged is not None and watched.terms.enabled:
                memory, rules = Memory.read(judged.memory), to_rules(watched.drift)
                if memory.rules != rules:
                    changed = replace(judged, memory=memory.under(rules).to_json())
                    again = judged_again(self._store, api, watched.revision, changed)
                    self._store.save_judged(api, watched.revision, again)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def to_rules(terms: DriftTerms) -> Rules:
    return Rules(window_s=terms.window_s, false_alarm_rate=terms.false_alarm_rate, min_effect=terms.min_effect)


def _to_drift(field: FieldVerdict) -> FieldDrift:
    return FieldDrift(
        verdict=field.verdict,
        test=field.test,
        statistic=field.statistic,
        p_value=field.p_value,
        effect=field.effect,
        threshold=field.threshold,
        explanation=field.explanation,
        since=None if field.since_s is None else to_iso(field.since_s),
        n_current=field.n_current,
        n_baseline=field.n_baseline,
    )


def _origin(path: str) -> str:
    """Changes with the file."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return f"{path} {found.st_size} {found.st_mtime_ns}"
