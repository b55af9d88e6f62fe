"""What a live picture shows, as seen at one look, and looking again and again: over engines that come and go.

Figures that cost the engine more than a glance are asked of a few APIs at each look, in turn, or more rarely.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hatchway.errors import EngineUnavailable, HatchwayError

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.client.ways import Way
    from hatchway.spec.alerts import AlertStatus
    from hatchway.spec.monitoring import MonitoringReport
    from hatchway.spec.status import ApiStatus, LogLine, ScalingStep
    from hatchway.spec.timeline import Sparkline, Timeline

T = TypeVar("T")

POLL_S = 1.0
IN_TURN = 8  # APIs that are asked more at one look
REPORT_LOOKS = 10  # a report of predictions is large, and moves by the minute
LIST_WINDOW_S = 60.0
PAGE_WINDOW_S = 900.0
LOG_LINES_KEPT = 200
LOG_BYTES = 128 * 1024  # of one look: many more lines than a terminal has
FIRST_LOG_S = 600.0  # how old the oldest log lines may be


@dataclass(frozen=True)
class Board:
    """All APIs."""

    apis: Sequence[ApiStatus] = ()
    sparklines: Mapping[str, Sparkline] = field(default_factory=dict)
    timelines: Mapping[str, Timeline] = field(default_factory=dict)  # of the last minute, as last asked
    alerts: Sequence[AlertStatus] = ()


@dataclass(frozen=True)
class Page:
    """One API."""

    api: ApiStatus
    timeline: Timeline | None = None
    steps: Sequence[ScalingStep] = ()
    drift: MonitoringReport | None = None
    lines: Sequence[LogLine] = ()
    alerts: Sequence[AlertStatus] = ()


def again_and_again(look: Callable[[], T], way: Way) -> Iterator[T | None]:
    """What `look` sees, again and again; None for a moment without an engine.

    An engine that goes away is followed by another one. Raises EngineUnavailable.
    """
    from hatchway.client.absence import Absence

    absence = Absence(way)
    while True:
        try:
            seen = look()
        except EngineUnavailable as error:
            while True:
                yield None
                time.sleep(absence.pause_s(error, time.monotonic()))
                if way.is_listening():
                    break
        else:
            absence.end()
            yield seen
            time.sleep(POLL_S)


class BoardLooks:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._timelines: dict[str, Timeline] = {}
        self._turn = 0

    def look(self) -> Board:
        apis = self._client.list()
        sparklines = if_known(self._client.timelines) or {}
        busy = [api.name for api in apis if any(_requests(sparklines.get(api.name)))]
        for name in self._next(busy):
            timeline = if_known(lambda name=name: self._client.timeline(name, LIST_WINDOW_S))  # type: ignore[misc]
            if timeline is not None:
                self._timelines[name] = timeline
        self._turn += 1
        alerts = if_known(self._client.alerts) or ()
        return Board(apis, sparklines, dict(self._timelines), alerts)

    def _next(self, names: Sequence[str]) -> Sequence[str]:
        if len(names) <= IN_TURN:
            return names
        start = self._turn * IN_TURN % len(names)
        return [*names, *names][start : start + IN_TURN]


class PageLooks:
    def __init__(self, client: Client, name: str) -> None:
        from hatchway.client.following import LogPosition

        self._client = client
        self._name = name
        self._position = LogPosition()
        self._lines: list[LogLine] = []
        self._report: MonitoringReport | None = None
        self._turn = 0

    def look(self) -> Page:
        """Raises NotFound when the API is gone."""
        api = self._client.get(self._name)
        if self._report is None or self._turn % REPORT_LOOKS == 0:
            self._report = if_known(lambda: self._client.monitoring(self._name))
        self._turn += 1
        return Page(
            api,
            if_known(lambda: self._client.timeline(self._name, PAGE_WINDOW_S)),
            if_known(lambda: self._client.scaling(self._name)) or (),
            self._report,
            self._read_on(),
            [alert for alert in if_known(self._client.alerts) or () if alert.api == self._name],
        )

    def _read_on(self) -> Sequence[LogLine]:
        """The newest log lines."""
        from hatchway.client.calls import age

        now = time.time()
        since = now - FIRST_LOG_S if self._position.since is None else self._position.since
        self._position.resume()
        try:
            for line in self._client.logs(self._name, since=age(now - since), max_bytes=LOG_BYTES):
                if self._position.is_new(line):
                    self._lines.append(line)
        except EngineUnavailable:
            raise
        except HatchwayError:
            return tuple(self._lines)
        finally:
            del self._lines[:-LOG_LINES_KEPT]
        return tuple(self._lines)


def if_known(ask: Callable[[], T]) -> T | None:
    """The answer; None when the engine has none, because it is of another release or has nothing to tell."""
    try:
        return ask()
    except EngineUnavailable:
        raise
    except HatchwayError:
        return None


def _requests(sparkline: Sparkline | None) -> Sequence[float]:
    return sparkline.requests_per_s if sparkline is not None else ()
