"""Waiting for a deploy: what an API's events say of it, and how long is long enough. Time comes in as an argument."""

from __future__ import annotations

from hatchway.client.progress import LogSeen, OnProgress, StatusSeen
from hatchway.errors import DeployFailed, TimedOut
from hatchway.spec.status import ApiStatus, DeployResult, LogLine
from hatchway.spec.values import parse_duration

DEPLOY_MARGIN_S = 30.0  # beyond the APIs' ready_timeout, after which the engine itself gives up
DEFAULT_READY_TIMEOUT = "300s"


def outcome(result: DeployResult, status: ApiStatus) -> DeployResult | None:
    """What became of a deploy once it is decided, else None. Raises DeployFailed."""
    if status.revision != result.revision or status.status == "deleting":
        raise DeployFailed(f"{result.name}: another deploy took over")
    reached = result.model_copy(update={"status": status.status})
    updated = next((one for one in status.conditions if one.type == "Updated"), None)
    accepted = next((one for one in status.conditions if one.type == "GatewayAccepted"), None)
    for condition in (updated, accepted):
        if condition is not None and condition.state == "false":
            raise DeployFailed(f"{result.name}: {condition.reason}: {condition.message}")
    if status.status == "failed":
        raise DeployFailed(f"{result.name}: {status.reason}: {status.message}")
    is_served = accepted is None or accepted.state == "true"
    return reached if status.status in ("live", "idle") and is_served else None


class Waiting:
    """Watches one API until its deploy is decided: pure but for the clock it is given."""

    def __init__(self, result: DeployResult, timeout_s: float | None, on_progress: OnProgress, now: float) -> None:
        self._result = result
        self._timeout_s = timeout_s
        self._on_progress = on_progress
        self._since = now
        self._last: ApiStatus | None = None

    def see(self, event: ApiStatus | LogLine | None, now: float) -> DeployResult | None:
        """None stands for a moment without news. Raises DeployFailed, TimedOut."""
        if isinstance(event, LogLine):
            self._on_progress(LogSeen(self._result.name, event))
        elif event is not None:
            self._last = event
            self._on_progress(StatusSeen(event))
            decided = outcome(self._result, event)
            if decided is not None:
                return decided
        # The status of now comes first, so that even a limit of no time tells what stands in the way.
        if self._last is not None and now - self._since >= self.limit_s:
            raise TimedOut(
                f"{self._result.name} was not live within {self.limit_s:g} s{self._why()}",
                hint=f"it goes on in the background: hatchway get {self._result.name}",
            )
        return None

    @property
    def limit_s(self) -> float:
        """How long to wait in all, as far as is known by now."""
        if self._timeout_s is not None:
            return self._timeout_s
        strategy = {} if self._last is None else self._last.spec.get("update_strategy", {})
        return parse_duration(strategy.get("ready_timeout", DEFAULT_READY_TIMEOUT)) + DEPLOY_MARGIN_S

    def _why(self) -> str:
        return f": {self._last.reason}: {self._last.message}" if self._last is not None and self._last.reason else ""
