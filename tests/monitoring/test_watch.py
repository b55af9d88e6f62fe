"""The engine's side and a real monitor process, without replicas."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hatchway.contract import SampleTerms
from hatchway.errors import MonitoringError
from hatchway.monitoring.terms import Watched
from hatchway.monitoring.watch import Watch
from hatchway.processes import find_marked
from hatchway.settings import Settings
from hatchway.spec.monitoring import ApiVerdict, MonitoringReport


class Bench:
    """A home, an engine's side of monitoring, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home", runtime_dir=folder / "run" / "h")
        self.settings.prepare()
        self.apis: dict[str, Watched] = {}
        self.changed: asyncio.Queue[str] = asyncio.Queue()
        self.start_engine()

    def start_engine(self) -> None:
        self.watch = Watch(self.settings, lambda: self.apis, self.changed.put_nowait)
        self.running = asyncio.create_task(self.watch.run())

    async def end_engine(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def pids(self) -> list[int]:
        found = find_marked(self.settings.home_hash)
        return [each.identity.pid for each in found if each.mark.role == "monitor" and each.leads]

    async def verdict(self, api: str, verdict: str) -> None:
        """Returns when the engine has been told it."""
        while (found := self.watch.verdicts().get(api)) is None or found.verdict != verdict:
            await self.changed.get()

    async def report(self, api: str) -> MonitoringReport:
        while True:
            try:
                return await self.watch.report(api, 3600)
            except MonitoringError:  # it is being started again
                await asyncio.sleep(0.05)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hww"))
    bench = Bench(folder)
    yield bench
    await bench.end_engine()
    await bench.watch.stop()
    assert bench.pids() == []
    shutil.rmtree(folder)


async def test_the_monitor_runs_once_there_is_something_to_watch_and_over_engines_and_kills(bench: Bench) -> None:
    bench.apis = {"app": Watched("r1", SampleTerms(enabled=False))}
    bench.watch.look()
    while not (bench.settings.monitoring_dir / "terms.json").exists():  # noqa: ASYNC110 (a file has no event)
        await asyncio.sleep(0.01)
    assert bench.pids() == []
    with pytest.raises(MonitoringError):
        await bench.watch.report("app", 3600)

    bench.apis = {"iris": Watched("r1", SampleTerms()), "app": Watched("r1", SampleTerms(enabled=False))}
    bench.watch.look()
    await bench.verdict("iris", "no_baseline")
    assert bench.watch.verdicts()["app"] == ApiVerdict(verdict="disabled")
    assert (await bench.report("iris")).seen == 0
    with pytest.raises(MonitoringError, match="nothing is known"):
        await bench.watch.report("other", 3600)

    (before,) = bench.pids()
    await bench.end_engine()
    bench.start_engine()
    await bench.verdict("iris", "no_baseline")
    assert bench.pids() == [before]

    os.kill(before, signal.SIGKILL)
    assert (await bench.report("iris")).api == "iris"
    assert bench.pids() != [before]


def test_what_stands_in_the_way_is_a_condition(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, runtime_dir=tmp_path)
    told: list[str] = []
    watch = Watch(settings, dict, told.append)
    drifted = {"api": "iris", "field": "input.age", "verdict": "drift", "score": 0.5, "explanation": "median 1 -> 2"}
    found = ApiVerdict.model_validate({"verdict": "drift", "fields": [drifted], "problems": ["no PyArrow"]})
    watch._take({"iris": found, "ok": ApiVerdict(verdict="ok"), "new": ApiVerdict(verdict="no_baseline")})
    assert [(each.type, each.state, each.message) for each in watch.conditions("iris")] == [
        ("Drift", "true", "input.age: median 1 -> 2"),
        ("Monitored", "false", "no PyArrow"),
    ]
    assert [(each.type, each.state) for each in watch.conditions("ok")] == [("Drift", "false")]
    assert watch.conditions("new") == watch.conditions("gone") == ()
    watch._take({"iris": found, "ok": ApiVerdict(verdict="drift")})
    assert told == ["iris", "new", "ok", "new", "ok"]
