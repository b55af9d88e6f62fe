"""Judges the hours of each API's watched revision as they end, each once, and keeps what was found.

What drift is, is decided in `judging.py`; here it gets the windows and the memory that it needs, from the store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hatchway.monitoring import judging
from hatchway.monitoring.baseline import Traffic, Window
from hatchway.monitoring.drift import FieldVerdict, Rules
from hatchway.monitoring.judging import Known, Memory
from hatchway.monitoring.panes import Key
from hatchway.monitoring.report import Judgement
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.store import HOUR_S, Baseline, Judged, PaneStore
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import FieldDrift

log = logging.getLogger("monitor")

RULES = Rules(window_s=float(HOUR_S))


class Judges:
    """Of all APIs, over one store."""

    def __init__(self, store: PaneStore, rules: Rules = RULES) -> None:
        self._store = store
        self._rules = rules
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
        baseline = Baseline("data", fields, _records(fields), _origin(watched.baseline))
        self._store.save_baseline(api, watched.revision, baseline)

    def refuse_data(self, watched: Watched, why: str) -> None:
        """It cannot be used, until the file is another one."""
        assert watched.baseline is not None
        log.error("%s", why)
        self._failed[_origin(watched.baseline)] = why

    def problem(self, watched: Watched) -> str:
        """Why the training data is not used, or ""."""
        return "" if watched.baseline is None else self._failed.get(_origin(watched.baseline), "")

    # --- windows -----------------------------------------------------------------------------------------
    def due(self, apis: Mapping[str, Watched], now_s: float) -> tuple[str, Watched, int] | None:
        """The API, and the start of the hour, that is to be judged next."""
        for api, watched in apis.items():
            if watched.terms.enabled:
                judged = self._store.judged(api, watched.revision)
                done_s = -1 if judged is None else judged.start_s
                for start_s in self._store.hours(api, watched.revision):
                    if done_s < start_s <= now_s - HOUR_S:
                        return api, watched, start_s
        return None

    def judge(self, api: str, watched: Watched, start_s: int) -> Judgement:
        """One hour, later than those that were judged before."""
        judged = self._store.judged(api, watched.revision)
        memory = Memory() if judged is None else _read_memory(judged.memory)
        window = next(iter(self._load(api, watched.revision, [start_s], None)))
        found = judging.look(memory, window, self._known(api, watched), self._rules)
        judgement = Judgement(
            verdict=found.report.verdict,
            fields={name: _to_drift(field) for name, field in found.report.fields.items()},
            source=found.source,
        )
        if found.source is not None and found.source != "data":
            baseline = Baseline(found.source, found.baseline, _records(found.baseline))
            self._store.save_baseline(api, watched.revision, baseline)
        kept = Judged(start_s, found.memory.to_json(), judgement.model_dump_json())
        self._store.save_judged(api, watched.revision, kept)
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

    def _known(self, api: str, watched: Watched) -> Known:
        data = None if watched.baseline is None else self._store.baseline(api, watched.revision, "data")
        former = next((each for each in self._store.revisions(api) if each != watched.revision), None)
        return Known(
            self._traffic(api, watched.revision, is_first=former is None),
            None if data is None else data.fields,
            None if former is None else self._traffic(api, former, is_first=True),
        )

    def _traffic(self, api: str, revision: str, *, is_first: bool) -> Traffic:
        """`is_first`: no hour of it was shared with the revision before."""
        starts = self._store.hours(api, revision)
        if not is_first:
            starts = starts[1:] or starts

        def load(chosen: Sequence[float], name: str | None) -> Iterable[Window]:
            return self._load(api, revision, chosen, name)

        return Traffic(float(starts[0]) if starts else 0.0, [float(start) for start in starts], load)

    def _load(self, api: str, revision: str, starts_s: Iterable[float], name: str | None) -> Iterator[Window]:
        for start_s in starts_s:
            pane = self._store.load(Key(api, revision, HOUR_S, int(start_s)), name)
            if pane is not None:
                yield Window(float(start_s), pane.fields)


def _read_memory(text: str) -> Memory:
    """What another version wrote may lack something: then it is learnt anew."""
    try:
        return Memory.from_json(text)
    except (ValueError, KeyError, TypeError) as exc:
        log.warning("what was learnt is learnt anew: %s", exc)
        return Memory()


def _to_drift(field: FieldVerdict) -> FieldDrift:
    return FieldDrift(
        verdict=field.verdict,
        test=field.test,
        statistic=field.statistic,
        p_value=field.p_value,
        threshold=field.threshold,
        explanation=field.explanation,
    )


def _records(fields: Mapping[str, FieldSketch]) -> int:
    return max((sketch.count for sketch in fields.values()), default=0)


def _origin(path: str) -> str:
    """Changes with the file."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return f"{path} {found.st_size} {found.st_mtime_ns}"
