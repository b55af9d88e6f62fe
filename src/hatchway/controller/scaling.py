"""How many replicas each API should have: once a second the gateway's figures become a decision.

`autoscaler.decide` decides. Here are the figures, the clock, the memory of each API (kept over restarts of the engine)
and the record of what was decided and why.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hatchway.autoscaler.decide import decide
from hatchway.autoscaler.decision import Decision, Fixed, Sample
from hatchway.autoscaler.memory import Memory
from hatchway.autoscaler.window import TICK_S
from hatchway.backends import Replica
from hatchway.controller.crowding import find_yielding, lacking
from hatchway.errors import GatewayError, StorageError
from hatchway.gateway.stats import Requests
from hatchway.spec.api import Autoscaling
from hatchway.store.sqlite import Scaled, Store

log = logging.getLogger(__name__)

SAVE_EVERY_S = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Figures(Protocol):
    """What the gateway says of requests."""

    async def requests(self) -> dict[str, Requests]: ...
    def waiting(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Subject:
    """What is known of one API that runs."""

    scaling: Autoscaling
    slots: int | None  # requests that a replica works on at a time; None: not known yet
    scaled: Scaled | None  # a number that somebody wants for a while


@dataclass
class _State:
    subject: Subject
    memory: Memory
    decision: Decision | None = None
    recorded: Decision | None = None
    total: int | None = None  # requests since Envoy started, at the last look
    is_saved: bool = True


class Scaler:
    """The numbers of all APIs that run. `on_change(api)` is called when one has moved; `observe` gives all replicas."""

    def __init__(
        self,
        store: Store,
        figures: Figures,
        observe: Callable[[], Sequence[Replica]],
        on_change: Callable[[str], None],
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._figures = figures
        self._observe = observe
        self._on_change = on_change
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._states: dict[str, _State] = {}
        self._boot = _boot_id()

    # --- what the reconciler says and asks ---------------------------------------------------------------
    def replicas(self, api: str) -> int | None:
        """How many the API should have now; None when it is not followed."""
        state = self._states.get(api)
        return None if state is None or state.decision is None else state.decision.replicas

    def numbers(self) -> Mapping[str, int]:
        """Of all APIs that are followed: how many each should have now."""
        return {api: state.decision.replicas for api, state in self._states.items() if state.decision is not None}

    def follow(self, api: str, subject: Subject) -> None:
        """Scale the API from now on, within these bounds."""
        state = self._states.get(api)
        if state is None:
            state = self._states[api] = _State(subject, self._recall(api))
        if state.decision is None or state.subject != subject:
            state.subject = subject
            self._decide(api, state, None, is_look=False)

    def unfollow(self, api: str) -> None:
        """The API is stopped or deleted: when it is started again, what was before does not count."""
        if self._states.pop(api, None) is not None:
            self._store.remember(_key(api), "")

    def rouse(self, api: str) -> None:
        """A new revision has proved itself: that counts as a request, so that it does not go to sleep at once.

        Unless the machine is full and others wait: of hundreds that are deployed at once, each makes room for the next.
        """
        state = self._states.get(api)
        if state is not None and not lacking(self._observe()):
            state.memory = state.memory.roused(self._monotonic())
            self._decide(api, state, None, is_look=False)

    def wake(self, api: str) -> None:
        """Requests wait for an API without a replica: decide now."""
        state = self._states.get(api)
        if state is not None:
            waiting = self._figures.waiting().get(api, 1)
            self._decide(api, state, Sample(waiting, None, state.subject.slots))

    def decisions(self, api: str) -> list[tuple[float, Decision]]:
        """What was decided and recorded of an API, with the time in seconds since the epoch, the newest first."""
        found = []
        for at, text in self._store.decisions(api):
            with suppress(ValueError, KeyError, TypeError):  # written by another release
                found.append((at, Decision.from_dict(json.loads(text))))
        return found

    # --- the clock ---------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Look and decide every second, until cancelled."""
        next_save = self._monotonic() + SAVE_EVERY_S
        try:
            while True:
                began = self._monotonic()
                await self.tick()
                if began >= next_save:
                    next_save = began + SAVE_EVERY_S
                    self.save()
                await asyncio.sleep(max(0.0, began + TICK_S - self._monotonic()))
        finally:
            self.save()

    async def tick(self) -> None:
        """One look at all APIs. Without figures nothing moves."""
        try:
            requests: Mapping[str, Requests] | None = await self._figures.requests()
        except GatewayError:
            requests = None
        waiting = self._figures.waiting()
        yielding = self._find_yielding()
        for api, state in list(self._states.items()):
            sample = None if requests is None else self._sample(api, state, requests.get(api, Requests()), waiting)
            if not _rests(state, sample):
                self._decide(api, state, sample, is_crowded=api in yielding)

    def _find_yielding(self) -> frozenset[str]:
        count = lacking(self._observe())
        if not count:
            return frozenset()
        return find_yielding({api: state.decision for api, state in self._states.items() if state.decision}, count)

    def _sample(self, api: str, state: _State, found: Requests, waiting: Mapping[str, int]) -> Sample:
        arrived = None if state.total is None or found.total < state.total else found.total - state.total
        state.total = found.total
        # Both: the activator knows of a request a moment before Envoy's figures are read, or after.
        return Sample(max(found.in_flight, waiting.get(api, 0)), arrived, state.subject.slots)

    def _decide(
        self, api: str, state: _State, sample: Sample | None, *, is_look: bool = True, is_crowded: bool = False
    ) -> None:
        subject, before, now = state.subject, state.decision, self._monotonic()
        fixed = self._fixed(subject.scaled, now)
        decision, state.memory = decide(subject.scaling, state.memory, sample, now, fixed, is_crowded=is_crowded)
        state.decision = decision
        if before is None or not _stands_still(subject, before, decision, sample):
            state.is_saved = False
        if decision.is_move or (is_look and decision.is_news_after(state.recorded)):
            state.recorded = decision
            with suppress(StorageError):  # a full disk keeps nobody from being served
                self._store.add_decision(api, self._wall_clock(), json.dumps(decision.to_dict()))
        if before is not None and decision.replicas != before.replicas:
            log.info("%s: %d -> %d replicas", api, before.replicas, decision.replicas)
            self._on_change(api)

    def _fixed(self, scaled: Scaled | None, now: float) -> Fixed | None:
        return None if scaled is None else Fixed(scaled.replicas, now + scaled.until - self._wall_clock())

    # --- memory ------------------------------------------------------------------------------------------
    def save(self, only: str | None = None) -> None:
        """What changed since the last time; for an API that nobody asks nothing does but the time."""
        now = self._monotonic()
        found = {api: self._states[api] for api in (self._states if only is None else {only} & self._states.keys())}
        changed = {api: state for api, state in found.items() if not state.is_saved}
        kept = {
            _key(api): json.dumps({"memory": state.memory.to_dict(now), "boot": self._boot, "at": now})
            for api, state in changed.items()
        }
        try:
            self._store.remember_all(kept)
        except StorageError as exc:
            log.warning("what the autoscaler remembers cannot be saved: %s", exc)
            return
        for state in changed.values():
            state.is_saved = True

    def _recall(self, api: str) -> Memory:
        """What a former engine saved. After a reboot nobody knows how long ago: as if no time had passed."""
        now = self._monotonic()
        try:
            kept = json.loads(self._store.recall(_key(api)) or "null")
            if kept is None:
                return Memory()
            away_s = now - kept["at"] if kept["boot"] == self._boot else 0.0
            return Memory.from_dict(kept["memory"], now, away_s)
        except (ValueError, KeyError, TypeError):  # written by another release
            return Memory()


def _rests(state: _State, sample: Sample | None) -> bool:
    """At zero, and nobody asks: there is nothing to decide, for hundreds of APIs each second."""
    if sample is None or state.decision is None or state.subject.scaled is not None:
        return False
    is_quiet = sample.in_flight == 0 and not sample.arrived
    return is_quiet and state.decision.replicas == 0 and state.subject.scaling.min_replicas == 0


def _stands_still(subject: Subject, before: Decision, now: Decision, sample: Sample | None) -> bool:
    """Nobody asks, nobody did for a whole window, and no replica could be taken away: what is saved says enough.

    Whoever reads it later finds a gap in the figures, after which only taking away waits.
    """
    is_quiet = sample is not None and sample.in_flight == 0 and sample.arrived == 0
    is_empty = now.load is not None and now.load.average == 0
    is_lowest = subject.scaled is None and now.replicas == before.replicas == subject.scaling.min_replicas
    return is_quiet and is_empty and is_lowest


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _key(api: str) -> str:
    return f"scaling:{api}"
