"""Saying that a change is the new normal, and taking that back. What it does to judging is in `periods.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from hatchway.monitoring.baseline import PERIOD_S
from hatchway.monitoring.drift import Verdict, overall
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.panes import Key
from hatchway.monitoring.periods import Accepted
from hatchway.monitoring.persistence import CONFIRMING_EARLY
from hatchway.monitoring.report import Judgement, records, to_iso
from hatchway.monitoring.sketches import merged
from hatchway.monitoring.store import HOUR_S, Acceptance, Baseline, Judged, PaneStore
from hatchway.monitoring.windows import Windows
from hatchway.spec.monitoring import FieldDrift


class NothingToAccept(Exception):
    """No field drifts, or not these (`strangers`)."""

    def __init__(self, strangers: Sequence[str], drifting: Sequence[str]) -> None:
        super().__init__(f"{', '.join(strangers) or 'nothing'}; drifting: {', '.join(drifting) or 'none'}")
        self.strangers = strangers
        self.drifting = drifting


class NothingToUndo(Exception):
    """Nothing was accepted that was not taken back."""


@dataclass(frozen=True)
class Word:
    """Who says something, and when (seconds since the epoch)."""

    by: str
    at_s: float


def accept(
    store: PaneStore, api: str, revision: str, fields: Sequence[str] | None, word: Word
) -> tuple[Acceptance, Judgement]:
    """What these fields, by default all that drift, are like since they do is what they should be like.

    Raises NothingToAccept.
    """
    judged = store.judged(api, revision)
    memory = Memory() if judged is None else Memory.read(judged.memory)
    drifting = {
        name: word.at_s if one.since_s is None else one.since_s
        for name, one in sorted(memory.standings.items())
        if one.is_drifting
    }
    chosen = [*drifting] if fields is None else fields
    strangers = [name for name in chosen if name not in drifting]
    if judged is None or strangers or not chosen:
        raise NothingToAccept(strangers, [*drifting])
    accepted = Acceptance(word.at_s, word.by, {name: drifting[name] for name in chosen})
    judgement = _without(Judgement.model_validate_json(judged.judgement), chosen, word)
    kept = replace(judged, memory=memory.without(chosen).to_json(), judgement=judgement.model_dump_json())
    store.accept(api, revision, accepted, kept)
    _save_baseline(store, api, revision)
    return accepted, judgement


def undo(store: PaneStore, api: str, revision: str, word: Word) -> Acceptance:
    """The fields of the last one are compared with what they were compared with before. Raises NothingToUndo."""
    judged = store.judged(api, revision)
    last = next((one for one in store.accepted(api, revision) if one.undone_at_s is None), None)
    if judged is None or last is None:
        raise NothingToUndo
    undone = replace(last, undone_at_s=word.at_s, undone_by=word.by)
    memory = Memory.read(judged.memory).without(last.since_s)
    store.undo(api, revision, undone, judged_again(store, api, revision, replace(judged, memory=memory.to_json())))
    _save_baseline(store, api, revision)
    return undone


def judged_again(store: PaneStore, api: str, revision: str, judged: Judged) -> Judged:
    """As before the last few windows, as many as it takes to call drift: they are judged again at once.

    What is held stays until they contradict it.
    """
    windows = Windows(store, api, Memory.read(judged.memory).rules.window_s)
    over = [start for start in windows.starts_s(revision) if start + windows.length_s <= judged.start_s + HOUR_S]
    first_s = over[-CONFIRMING_EARLY:][0] if over else judged.start_s + HOUR_S
    return replace(judged, start_s=int(first_s) - HOUR_S)


def inherited(store: PaneStore, api: str, revision: str, start_s: float) -> tuple[Acceptance, ...]:
    """What was accepted of the revision before and holds for this one, whose first window starts at `start_s`.

    Not where the training data says otherwise: then the change was answered by training anew.
    """
    former = next((one for one in store.revisions(api) if one != revision), None)
    if former is None:
        return ()
    changes = [one for one in store.accepted(api, former) if one.undone_at_s is None]
    names = {name for one in changes for name in one.since_s}
    same = names & _alike(store.baseline(api, former, "data"), store.baseline(api, revision, "data"), names)
    return tuple(
        replace(one, since_s=dict.fromkeys(sorted(same & one.since_s.keys()), start_s), id=0)
        for one in changes
        if same & one.since_s.keys()
    )


def _alike(former: Baseline | None, now: Baseline | None, names: Collection[str]) -> set[str]:
    """The fields of which both say the same: none of training data, or the same values."""
    if former is None and now is None:
        return set(names)
    if former is None or now is None:
        return set()
    known = former.fields.keys() & now.fields.keys() & set(names)
    return {name for name in known if former.fields[name].exact() == now.fields[name].exact()}


def in_force(accepted: Iterable[Acceptance]) -> dict[str, Accepted]:
    """Field -> the last word on it that was not taken back; `accepted` has the newest first."""
    found: dict[str, Accepted] = {}
    for one in accepted:
        if one.undone_at_s is None:
            for name, since_s in one.since_s.items():
                found.setdefault(name, Accepted(since_s, one.at_s))
    return found


def _save_baseline(store: PaneStore, api: str, revision: str) -> None:
    """What was seen of accepted fields since, up to a week, for reports: the next window does the same."""
    fields = {}
    for name, one in in_force(store.accepted(api, revision)).items():
        hours = [hour for hour in store.hours(api, revision) if one.since_s <= hour < one.since_s + PERIOD_S]
        panes = [store.load(Key(api, revision, HOUR_S, hour), name) for hour in hours]
        fields[name] = merged(pane.fields[name] for pane in panes if pane is not None and name in pane.fields)
    store.save_baseline(api, revision, Baseline("accepted", fields, records(fields)))


def _without(judgement: Judgement, names: Collection[str], word: Word) -> Judgement:
    """The same as if these fields had nothing to be compared with yet."""
    told = FieldDrift(verdict="no_baseline", explanation=f"the change was accepted at {to_iso(word.at_s)}")
    fields = {name: told if name in names else one for name, one in judgement.fields.items()}
    verdict = overall([cast("Verdict", one.verdict) for one in fields.values()])
    return judgement.model_copy(update={"fields": fields, "verdict": verdict})
