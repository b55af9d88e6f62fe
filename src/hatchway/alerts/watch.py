"""Looks at the APIs that have a webhook, remembers what goes on with them, and has what is new sent.

What is decided is kept in the store before it is sent, and forgotten when the receiver has it: the next engine neither
repeats an alert nor loses one. Only an engine that is killed between an answer and the note of it sends one twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol

from hatchway.alerts.body import make_body
from hatchway.alerts.clock import Clock
from hatchway.alerts.decide import Alert, Facts, Kind, Memory, Rule, Traffic, decide
from hatchway.alerts.facts import to_facts
from hatchway.alerts.retries import describe
from hatchway.alerts.sender import Message, Post, Progress, Sender
from hatchway.errors import Conflict, HatchwayError, NotFound
from hatchway.spec.alerts import AlertStatus, AlertTest, Delivery
from hatchway.spec.api import Alerts
from hatchway.spec.status import ApiStatus
from hatchway.spec.webhooks import shown

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class Sources:
    """Where facts come from.

    `settings`: of all APIs, from memory, for they are asked at each look. `status` raises NotFound. `traffic` of the
    last so many seconds. `drift`: field -> verdict ("drift", "ok", "too_few", ...). None: nobody knows.
    """

    settings: Callable[[], Mapping[str, Alerts]]
    status: Callable[[str], ApiStatus]
    traffic: Callable[[str, float], Traffic | None]
    drift: Callable[[str], Mapping[str, str] | None]


class Notes(Protocol):
    """Small texts that outlive the engine."""

    def remember(self, key: str, value: str) -> None: ...
    def recall(self, key: str) -> str | None: ...


@dataclass
class _State:
    rule: Rule
    webhook: str
    memory: Memory
    unsent: dict[int, Alert] = field(default_factory=dict)  # by message
    deliveries: dict[str, tuple[Delivery, str]] = field(default_factory=dict)  # by kind


class Alerter:
    """`default_webhook`: for APIs that name none. `machine`: what messages call this machine."""

    def __init__(
        self,
        sources: Sources,
        notes: Notes,
        post: Post,
        clock: Clock,
        *,
        default_webhook: str | None,
        machine: str,
    ) -> None:
        self._sources = sources
        self._notes = notes
        self._post = post
        self._clock = clock
        self._default_webhook = default_webhook
        self._machine = machine
        self._sender = Sender(post, clock, self._on_progress)
        self._states: dict[str, _State] = {}
        self._owners: dict[int, str] = {}  # message -> API
        self._ids = count(1)

    # --- what may be asked -------------------------------------------------------------------------------
    def list(self, api: str | None = None) -> list[AlertStatus]:
        """Alerts that go on, of all APIs or one."""
        return [
            _to_status(name, kind, state)
            for name, state in sorted(self._states.items())
            for kind in state.memory.raised
            if api in (None, name)
        ]

    async def test(self, api: str) -> AlertTest:
        """Send a message that is only for trying, once. Raises NotFound, and Conflict when there is no webhook."""
        self._sources.status(api)
        webhook = self._webhooks().get(api)
        if webhook is None:
            raise Conflict(
                f"{api} has no webhook",
                hint="write monitoring: {alerts: {webhook: ${ALERT_URL}}}, or set HATCHWAY_ALERT_WEBHOOK",
            )
        now = self._clock.now()
        alert = Alert(api, "Test", "warning", "a message for trying: alerts of this API arrive here", now, now)
        answer = await self._post(webhook, make_body(alert, webhook, self._machine))
        return AlertTest(api=api, webhook=shown(webhook), taken=answer.is_taken, receiver=describe(answer))

    # --- the loop ----------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Look and send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="send alerts")
            group.create_task(self._look_on(), name="look for alerts")

    async def _look_on(self) -> None:
        while True:
            try:
                self.look()
            except HatchwayError as exc:  # a full disk: what is not noted is not sent, and is tried again
                log.warning("alerts cannot be looked for: %s", exc)
            await self._clock.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """One look at all APIs that have a webhook, or had one at the last look. Raises StorageError."""
        settings, webhooks = self._sources.settings(), self._webhooks()
        for api, webhook in webhooks.items():
            rule = to_rule(settings[api])
            state = self._states.get(api)
            if state is None:
                state = self._states[api] = self._recall(api, rule, webhook)
            state.rule, state.webhook = rule, webhook
            try:
                status = self._sources.status(api)
            except NotFound:  # deleted a moment ago; the next look sees it
                continue
            drift, traffic = self._sources.drift(api), self._sources.traffic(api, rule.window_s)
            self._decide(api, state, to_facts(status, traffic, drift))
        for api in self._states.keys() - webhooks.keys():
            self._decide(api, self._states[api], Facts(is_wanted=False))
            self._notes.remember(_key(api), "")
            del self._states[api]

    def _webhooks(self) -> dict[str, str]:
        found = {api: alerts.webhook or self._default_webhook for api, alerts in self._sources.settings().items()}
        return {api: webhook for api, webhook in found.items() if webhook is not None}

    def _decide(self, api: str, state: _State, facts: Facts) -> None:
        memory, alerts = decide(api, state.rule, facts, state.memory, self._clock.now())
        if memory == state.memory:
            return
        new = {next(self._ids): alert for alert in alerts}
        self._notes.remember(_key(api), _to_note(memory, {**state.unsent, **new}))
        state.memory = memory
        self._send(api, state, new)

    def _send(self, api: str, state: _State, alerts: Mapping[int, Alert]) -> None:
        for id, alert in alerts.items():
            log.info("%s: %s %s", api, alert.kind, "is raised" if alert.ended_at is None else "is resolved")
            state.unsent[id] = alert
            state.deliveries[alert.kind] = ("waiting", "")
            self._owners[id] = api
            self._sender.send(Message(id, state.webhook, make_body(alert, state.webhook, self._machine)))

    def _on_progress(self, message: Message, progress: Progress) -> None:
        api = self._owners[message.id]
        if progress.is_over:
            del self._owners[message.id]
        state = self._states.get(api)
        alert = None if state is None else state.unsent.get(message.id)
        if state is None or alert is None:  # of an API that is gone
            return
        delivery: Delivery = "sent" if progress.is_taken else "failed" if progress.is_over else "waiting"
        state.deliveries[alert.kind] = (delivery, progress.told)
        if progress.is_over:
            del state.unsent[message.id]
            try:
                self._notes.remember(_key(api), _to_note(state.memory, state.unsent))
            except HatchwayError as exc:
                log.warning("an alert of %s may be sent again: %s", api, exc)

    # --- memory ------------------------------------------------------------------------------------------
    def _recall(self, api: str, rule: Rule, webhook: str) -> _State:
        """What a former engine noted; what it had not sent is sent."""
        state = _State(rule, webhook, Memory())
        try:
            kept = json.loads(self._notes.recall(_key(api)) or "null")
            if kept is not None:
                state.memory = Memory.from_dict(kept["memory"])
                self._send(api, state, {next(self._ids): Alert(**one) for one in kept["unsent"]})
        except (ValueError, KeyError, TypeError, AttributeError):  # written by another release
            log.warning("what was known of the alerts of %s cannot be read", api)
        return state


def to_rule(alerts: Alerts) -> Rule:
    return Rule(alerts.error_rate, alerts.window, alerts.min_requests)


def _to_note(memory: Memory, unsent: Mapping[int, Alert]) -> str:
    kept: dict[str, Any] = {"memory": memory.to_dict(), "unsent": [asdict(alert) for alert in unsent.values()]}
    return json.dumps(kept)


def _to_status(api: str, kind: Kind, state: _State) -> AlertStatus:
    raised = state.memory.raised[kind]
    delivery, told = state.deliveries.get(kind, ("sent", ""))
    return AlertStatus(
        api=api,
        alert=kind,
        severity=raised.severity,
        message=raised.message,
        since=datetime.fromtimestamp(raised.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        webhook=shown(state.webhook),
        delivery=delivery,
        receiver=told,
    )


def _key(api: str) -> str:
    return f"alerts:{api}"
