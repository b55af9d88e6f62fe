"""Alerts as the control API tells them: what goes on, and what became of telling somebody."""

from __future__ import annotations

from typing import Literal

from hatchway.spec.status import Wire

Delivery = Literal["waiting", "sent", "failed"]


class AlertStatus(Wire):
    """An element of `alerts -o json`: an alert that goes on."""

    api: str
    alert: Literal["HighErrorRate", "RolloutFailed", "CrashLoop", "Drift"]
    severity: Literal["critical", "warning"]
    message: str
    since: str  # ISO 8601, UTC
    webhook: str  # where it is sent, without what is secret of it
    delivery: Delivery  # of the newest message about it
    receiver: str  # what the receiver said last: "answered 200"


class AlertTest(Wire):
    """`alerts NAME --test -o json`: what a receiver says to a message that is only for trying."""

    api: str
    webhook: str
    taken: bool
    receiver: str
