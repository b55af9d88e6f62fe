"""What is done with what replicas tell: it goes into the pane of its minute, panes go to the disk, and are judged.

Knows no sockets; time is passed in. A frame belongs to the minute in which it came.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hatchway.monitoring.frames import Frame
from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.prediction_log import PredictionLogs
from hatchway.monitoring.report import Judgement, Subject, make_report
from hatchway.monitoring.store import MINUTE_S, PaneStore
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import ApiVerdict, DriftVerdict, MonitoringReport

log = logging.getLogger("monitor")


class Monitor:
    """All APIs of one home."""

    def __init__(self, store: PaneStore, logs: PredictionLogs) -> None:
        self._store = store
        self._logs = logs
        self._apis: Mapping[str, Watched] = {}
        self._panes: dict[Key, Pane] = {}
        self._known: dict[tuple[str, str], Known] = {}
        self._judgements: dict[str, Judgement] = {}

    def verdicts(self) -> dict[str, ApiVerdict]:
        """API -> what was found the last time."""
        return {
            api: ApiVerdict(
                verdict=found.verdict,
                fields=tuple(
                    DriftVerdict(
                        api=api, field=name, verdict=one.verdict, score=one.statistic, explanation=one.explanation
                    )
                    for name, one in sorted(found.fields.items())
                ),
                problems=tuple(text for text in (self._logs.problem(api),) if text),
            )
            for api, found in sorted(self._judgements.items())
        }

    def watch(self, apis: Mapping[str, Watched], now_s: float) -> None:
        """These are the APIs from now on. What is known of others is forgotten."""
        for api in (self._store.apis() | {key.api for key in self._panes}) - apis.keys():
            self._panes = {key: pane for key, pane in self._panes.items() if key.api != api}
            self._known = {key: known for key, known in self._known.items() if key[0] != api}
            self._store.forget(api)
        self._judgements = {
            api: Judgement("no_baseline" if watched.terms.enabled else "disabled") for api, watched in apis.items()
        }
        self._logs.watch(apis, now_s)
        self._apis = apis

    def take(self, api: str, revision: str, frame: Frame, now_s: float) -> None:
        """What one replica of this revision saw."""
        if api not in self._apis:
            return
        key = Key(api, revision, MINUTE_S, int(now_s) - int(now_s) % MINUTE_S)
        if key not in self._panes:
            self._panes[key] = self._store.load(key) or Pane()
        self._panes[key].add(frame, self._known_of(api, revision))
        if frame.log or frame.log_dropped:
            self._logs.write(api, revision, frame, now_s)

    def save(self, now_s: float) -> None:
        """Everything to the disk; what its minute is over for leaves the memory. Raises sqlite3.Error."""
        changed = {key: pane for key, pane in self._panes.items() if pane.is_changed}
        if changed:
            for pane in changed.values():
                pane.settle()
            whose = {(key.api, key.revision) for key in changed}
            self._store.save(changed, {owner: self._known[owner] for owner in whose})
            for pane in changed.values():
                pane.is_changed = False
        self._panes = {key: pane for key, pane in self._panes.items() if key.start_s + MINUTE_S > now_s}

    def roll_up(self, now_s: float) -> None:
        """What is due once in a while: old panes and old logs."""
        self._store.roll_up(now_s)
        self._logs.roll(now_s)

    def report(self, api: str, window_s: float, now_s: float) -> MonitoringReport | None:
        """What is known of the last `window_s` seconds of the API, in whole minutes; None if it is not watched."""
        watched = self._apis.get(api)
        if watched is None:
            return None
        self.save(now_s)
        from_s = int(now_s - window_s) // MINUTE_S * MINUTE_S
        pane = self._store.merged(api, watched.revision, from_s, int(now_s) + MINUTE_S)
        return make_report(
            Subject(api, watched.revision, window_s, watched), pane, None, self._judgements[api], self._logs.report(api)
        )

    def _known_of(self, api: str, revision: str) -> Known:
        if (api, revision) not in self._known:
            self._known[api, revision] = self._store.known(api, revision)
        return self._known[api, revision]
