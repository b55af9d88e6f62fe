"""Monitoring as the engine sees it: says what is watched, keeps the monitor running, asks it and hears its verdicts.

Imports neither NumPy nor DataSketches: they are the monitor's. The monitor starts with the first API that is monitored
and stays until `down`; without it, reports are errors and everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from hatchway.errors import Conflict, HatchwayError, MonitoringError
from hatchway.files import replace_text
from hatchway.monitoring.process import MonitorProcess
from hatchway.monitoring.terms import Watched, to_json
from hatchway.settings import Settings
from hatchway.spec.monitoring import AcceptedChange, ApiVerdict, MonitoringReport
from hatchway.spec.status import Condition

log = logging.getLogger(__name__)

ANSWER_S = 5.0
SETTLE_S = 0.2  # changes come in crowds: they are looked at together
RETRY_S = 1.0
AGAIN_S = 10.0
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
_VERDICTS = TypeAdapter(dict[str, ApiVerdict])


class Watch:
    """One per home. `watched` says what there is now; `on_change(api)` is told when the verdict of an API changed."""

    def __init__(
        self, settings: Settings, watched: Callable[[], Mapping[str, Watched]], on_change: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._watched = watched
        self._on_change = on_change
        self._process = MonitorProcess(settings)
        self._verdicts: Mapping[str, ApiVerdict] = {}
        self._may_have_changed = asyncio.Event()
        self._is_running = asyncio.Event()
        self._written = ""

    # --- its life ----------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until cancelled; the monitor runs on."""
        self._settings.monitoring_dir.mkdir(mode=0o700, exist_ok=True)
        if await self._process.adopt():
            self._is_running.set()
        self._may_have_changed.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell(), name="monitoring-terms")
            tasks.create_task(self._keep(), name="monitoring-process")
            tasks.create_task(self._follow(), name="monitoring-verdicts")

    def look(self) -> None:
        """What is watched may have changed."""
        self._may_have_changed.set()

    async def stop(self) -> None:
        """End the monitor. `run` must have been cancelled."""
        await self._process.stop()

    async def _tell(self) -> None:
        terms_file = self._settings.monitoring_dir / "terms.json"
        if terms_file.exists():
            self._written = terms_file.read_text()
        while True:
            await self._may_have_changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._may_have_changed.clear()
            try:
                watched = self._watched()
                text = to_json(watched)
                if text != self._written:
                    replace_text(terms_file, text)
                    self._written = text
                if not self._is_running.is_set() and any(one.terms.enabled for one in watched.values()):
                    await self._process.start()
                    self._is_running.set()
            except (HatchwayError, OSError) as exc:  # nothing that APIs cannot do without
                log.error("monitoring: %s", exc)  # noqa: TRY400 (the message says it all)
                asyncio.get_running_loop().call_later(AGAIN_S, self.look)

    async def _keep(self) -> None:
        await self._is_running.wait()
        await self._process.watch()

    # --- what the monitor says ---------------------------------------------------------------------------
    async def report(self, api: str, window_s: float) -> MonitoringReport:
        """What is known of the last `window_s` seconds. Raises MonitoringError."""
        answer = await self._ask(json.dumps({"ask": "report", "api": api, "window_s": window_s}))
        if answer == b"null\n" or not answer:
            raise MonitoringError(f"nothing is known of {api} yet", hint="ask again in a few seconds")
        return MonitoringReport.model_validate_json(answer)

    async def accept(self, api: str, fields: Sequence[str] | None, by: str) -> AcceptedChange:
        """What these fields are like since they drift, all that do by default, is their baseline from now on.

        Raises MonitoringError, and Conflict where there is nothing to accept.
        """
        return await self._say({"ask": "accept", "api": api, "fields": None if fields is None else [*fields], "by": by})

    async def undo_accept(self, api: str, by: str) -> AcceptedChange:
        """Take the last one back. Raises MonitoringError, and Conflict where there is none."""
        return await self._say({"ask": "undo", "api": api, "by": by})

    async def _say(self, word: Mapping[str, Any]) -> AcceptedChange:
        answer = json.loads(await self._ask(json.dumps(word)) or b"{}")
        if "refused" in answer:
            raise Conflict(answer["refused"], hint=answer["hint"])
        if not answer:
            raise MonitoringError("the monitor could not keep it", hint="see logs/monitor.log of the home")
        return AcceptedChange.model_validate(answer)

    async def _ask(self, question: str) -> bytes:
        """The monitor's answer, one line; empty when it failed. Raises MonitoringError when there is none."""
        if not self._is_running.is_set():
            raise MonitoringError(
                "no API is monitored yet", hint="monitoring.enabled: true, and a replica that is ready"
            )
        try:
            async with asyncio.timeout(ANSWER_S), self._asking(question) as reader:
                return await reader.readline()
        except (OSError, ValueError) as exc:  # TimeoutError is an OSError
            raise MonitoringError(
                "the monitor does not answer", hint="it is started again; see logs/monitor.log of the home"
            ) from exc

    def verdicts(self) -> Mapping[str, ApiVerdict]:
        """API -> what the last judgement said; an API that was never judged is missing."""
        return self._verdicts

    def conditions(self, api: str) -> tuple[Condition, ...]:
        """Drift: whether inputs or outputs differ from the baseline. Monitored: only when something is in the way."""
        found = self._verdicts.get(api)
        return () if found is None else tuple(_conditions(found))

    async def _follow(self) -> None:
        await self._is_running.wait()
        while True:
            with contextlib.suppress(OSError, ValueError):
                async with self._asking('{"ask": "verdicts"}') as reader:
                    while line := await reader.readline():
                        self._take(_VERDICTS.validate_json(line))
            await asyncio.sleep(RETRY_S)

    def _take(self, verdicts: Mapping[str, ApiVerdict]) -> None:
        former, self._verdicts = self._verdicts, verdicts
        for api in sorted(former.keys() | verdicts.keys()):
            if former.get(api) != verdicts.get(api):
                self._on_change(api)

    @contextlib.asynccontextmanager
    async def _asking(self, question: str) -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_unix_connection(
            str(self._settings.monitor_socket), limit=_LONGEST_ANSWER_BYTES
        )
        try:
            writer.write(question.encode() + b"\n")
            yield reader
        finally:
            writer.close()


def _conditions(found: ApiVerdict) -> Iterator[Condition]:
    drifted = [one for one in found.fields if one.verdict == "drift"]
    if found.verdict == "drift":
        message = "; ".join(": ".join(filter(None, (one.field, one.explanation))) for one in drifted[:3])
        more = f"; and {len(drifted) - 3} more" if len(drifted) > 3 else ""
        yield Condition(type="Drift", state="true", reason="Drift", message=message + more)
    elif found.verdict == "ok":
        yield Condition(type="Drift", state="false")
    if found.problems:
        yield Condition(type="Monitored", state="false", reason="Problem", message="\n".join(found.problems))
