"""What is done with what replicas tell: it goes into the pane of its minute, panes go to the disk, and are judged.

Knows no sockets; time is passed in. A frame belongs to the minute in which it came.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hatchway.monitoring import accepting
from hatchway.monitoring.accepting import NothingToAccept, Word
from hatchway.monitoring.frames import Frame
from hatchway.monitoring.judges import Due, Judges
from hatchway.monitoring.judging import Look
from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.prediction_log import PredictionLogs
from hatchway.monitoring.report import Compared, Judgement, Subject, make_report, to_accepted
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.store import HOUR_S, MINUTE_S, PaneStore
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import AcceptedChange, ApiVerdict, DriftVerdict, FieldDrift, MonitoringReport

log = logging.getLogger("monitor")

JUST_DRIFTING = 1.01  # the score of what drifts and would not be called so by its last window alone


class Monitor:
    """All APIs of one home."""

    def __init__(self, store: PaneStore, logs: PredictionLogs) -> None:
        self._store = store
        self._logs = logs
        self._judges = Judges(store)
        self._rolled_up_to_s = 0.0
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
                        api=api, field=name, verdict=one.verdict, score=_score(one), explanation=one.explanation
                    )
                    for name, one in sorted(found.fields.items())
                ),
                problems=tuple(
                    text
                    for text in (
                        self._logs.problem(api),
                        self._judges.problem(api, self._apis[api], self._seen(api, self._apis[api].revision)),
                    )
                    if text
                ),
            )
            for api, found in sorted(self._judgements.items())
        }

    def watch(self, apis: Mapping[str, Watched], now_s: float) -> None:
        """These are the APIs from now on. What is known of others is forgotten."""
        for api in (self._store.apis() | {key.api for key in self._panes}) - apis.keys():
            self._panes = {key: pane for key, pane in self._panes.items() if key.api != api}
            self._known = {key: known for key, known in self._known.items() if key[0] != api}
            self._store.forget(api)
        self._judges.follow(apis)
        self._judgements = {api: self._judges.judgement(api, watched) for api, watched in apis.items()}
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
        # Also when it cannot be saved: a full disk must not fill the memory too.
        self._panes = {key: pane for key, pane in self._panes.items() if key.start_s + MINUTE_S > now_s}
        if changed:
            for pane in changed.values():
                pane.settle()
            whose = {(key.api, key.revision) for key in changed}
            self._store.save(changed, {owner: self._known[owner] for owner in whose})
            for pane in changed.values():
                pane.is_changed = False

    def unread(self) -> list[tuple[str, Watched, Path]]:
        """API, what is watched of it, and the file of training data that is still to be read for it."""
        return [*self._judges.unread(self._apis)]

    def take_data(self, api: str, watched: Watched, fields: Mapping[str, FieldSketch] | None, why: str = "") -> None:
        """What was read of it, or None and why it cannot be used."""
        if fields is None:
            self._judges.refuse_data(watched, f"{api}: the baseline cannot be used: {why}")
        else:
            self._judges.take_data(api, watched, fields)
        if self._apis.get(api) == watched:
            self._judgements[api] = self._judges.judgement(api, watched)

    # --- judging, in three steps: the second may be in another thread ------------------------------------
    def due(self) -> Due | None:
        """A window that is over, and all of it in hours, and was not judged yet."""
        return self._judges.due(self._apis, self._rolled_up_to_s)

    def look(self, due: Due, store: PaneStore) -> Look:
        """What is found there, by what `store` has: the thread's own view of the same files."""
        return self._judges.look(due, store)

    def keep(self, due: Due, found: Look) -> None:
        """Unless something changed meanwhile: then the window is due again, or gone."""
        if self._apis.get(due.api) == due.watched:
            judgement = self._judges.keep(due, found)
            if judgement is not None:
                self._judgements[due.api] = judgement

    def accept(self, api: str, fields: Sequence[str] | None, word: Word) -> AcceptedChange:
        """See accepting.accept. Raises KeyError for an API that is not watched, NothingToAccept."""
        watched = self._apis[api]
        if not watched.terms.enabled:
            raise NothingToAccept([], [])
        accepted, self._judgements[api] = accepting.accept(self._store, api, watched.revision, fields, word)
        return to_accepted(accepted)

    def undo(self, api: str, word: Word) -> AcceptedChange:
        """See accepting.undo. Raises KeyError for an API that is not watched, NothingToUndo."""
        return to_accepted(accepting.undo(self._store, api, self._apis[api].revision, word))

    def roll_up(self, now_s: float) -> None:
        """What is due once in a while: hours that are over, old panes and old logs."""
        self.save(now_s)
        self._store.roll_up(now_s, {(api, watched.revision) for api, watched in self._apis.items()})
        self._rolled_up_to_s = now_s - now_s % HOUR_S
        self._logs.roll(now_s)

    def report(self, api: str, window_s: float, now_s: float) -> MonitoringReport | None:
        """What is known of the last `window_s` seconds of the API, in whole minutes; None if it is not watched."""
        watched = self._apis.get(api)
        if watched is None:
            return None
        self.save(now_s)
        from_s = int(now_s - window_s) // MINUTE_S * MINUTE_S
        pane = self._store.merged(api, watched.revision, from_s, int(now_s) + MINUTE_S)
        judgement = self._judgements[api]
        source = judgement.source
        compared = Compared(
            None if source is None else self._store.baseline(api, watched.revision, source),
            self._store.baseline(api, watched.revision, "accepted"),
            self._store.accepted(api, watched.revision),
        )
        return make_report(
            Subject(api, watched.revision, window_s, watched), pane, compared, judgement, self._logs.report(api)
        )

    def _seen(self, api: str, revision: str) -> set[str]:
        """The fields that there were so far."""
        return {name for names in self._known_of(api, revision).places().values() for name in names.values()}

    def _known_of(self, api: str, revision: str) -> Known:
        if (api, revision) not in self._known:
            self._known[api, revision] = self._store.known(api, revision)
        return self._known[api, revision]


def _score(field: FieldDrift) -> float | None:
    """How much moved, in thresholds; at most 1 for what does not drift, or not yet, and more for what does."""
    if field.effect is None or not field.threshold:
        return None
    share = field.effect / field.threshold
    return max(share, JUST_DRIFTING) if field.verdict == "drift" else min(share, 1.0)
