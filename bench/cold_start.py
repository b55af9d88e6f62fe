"""How long one more replica takes to be ready, and what memory it takes: forked from a template beside spawned.

The handler imports scikit-learn and pandas and has a small model. The two kinds take turns; what is timed is from the
decision (the backend is told to have one more) to the replica being ready, its model loaded. Memory is what belongs
to the replica alone (USS), after its first prediction.

`--first N` times N first replicas instead: an API that was never deployed before, until all N are ready and until one
is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import stage

from hatchway.backends import Replica, Workload
from hatchway.backends.local import LocalBackend
from hatchway.settings import Settings
from hatchway.spec.api import RealtimeApi
from hatchway.spec.revision import Interpreter

HANDLER = """
import pandas
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

class Handler:
    def __init__(self, config):
        data = load_iris()
        self.model = LogisticRegression(max_iter=20, tol=1.0).fit(data.data[::5], data.target[::5])

    def handle_post(self, payload):
        frame = pandas.DataFrame([payload])
        return self.model.predict(frame.to_numpy())
"""
PAYLOAD = {"a": 6.7, "b": 3.0, "c": 5.2, "d": 2.3}
PATIENCE_S = 60.0


class Stage:
    """A backend whose APIs are called `forked` and `spawned`, one warm replica of each."""

    def __init__(self, backend: LocalBackend, changed: asyncio.Event, project: Path) -> None:
        self.backend = backend
        self._changed = changed
        self._project = project

    async def one_more(self, api: str) -> tuple[float, Replica]:
        """Seconds from the decision to a ready replica."""
        before = {replica.id for replica in self._of(api)}
        began = time.perf_counter()
        await self.backend.apply(self._workload(api), len(before) + 1)
        while not (new := [r for r in self._of(api) if r.id not in before and r.state == "ready"]):
            await self._change()
        return time.perf_counter() - began, new[0]

    async def first(self, api: str, count: int) -> dict[str, float]:
        """Milliseconds until one and until all of `count` replicas are ready; then they and the API go."""
        began = time.perf_counter()
        await self.backend.apply(self._workload(api), count)
        while not self._n_ready(api):
            await self._change()
        one_s = time.perf_counter() - began
        while self._n_ready(api) < count:
            await self._change()
        all_s = time.perf_counter() - began
        for replica in self._of(api):
            await self.remove(replica)
        await self.backend.forget(api)
        return {"one ready ms": one_s * 1000, "all ready ms": all_s * 1000}

    def _n_ready(self, api: str) -> int:
        return sum(replica.state == "ready" for replica in self._of(api))

    async def remove(self, replica: Replica) -> None:
        await self.backend.stop(replica.id, kill_after_s=5)
        while any(other.id == replica.id for other in self.backend.observe()):
            await self._change()

    def _of(self, api: str) -> list[Replica]:
        return [replica for replica in self.backend.observe() if replica.api == api]

    async def _change(self) -> None:
        self._changed.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self._changed.wait()

    def _workload(self, api: str) -> Workload:
        handler = {"path": "handler.py", "fast_start": api == "forked"}
        return Workload(
            api=api,
            revision="bench",
            spec=RealtimeApi.model_validate({"name": api, "handler": handler}),
            project_dir=self._project,
            interpreter=Interpreter(
                executable=sys.executable,
                version=platform.python_version(),
                abi=f"{sys.implementation.cache_tag}-{platform.machine()}",
            ),
        )


@contextlib.asynccontextmanager
async def a_stage(folder: Path) -> AsyncIterator[Stage]:
    project = folder / "project"
    project.mkdir()
    (project / "handler.py").write_text(HANDLER)
    settings = Settings.from_environment({"HATCHWAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder)})
    settings.prepare()
    changed = asyncio.Event()
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    backend = LocalBackend(settings, lambda _: changed.set(), environ=environ)
    await backend.adopt()
    running = asyncio.create_task(backend.run())
    try:
        yield Stage(backend, changed, project)
    finally:
        await backend.stop_all(kill_after_s=5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def measure(repetitions: int) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {"forked": {}, "spawned": {}}
    with stage.a_folder() as folder:
        async with a_stage(folder) as running:
            for api in samples:
                await running.one_more(api)
                await running.one_more(api)  # the template is warm after this, and all bytecode written
            for _ in range(repetitions):
                for api, figures in samples.items():
                    seconds, replica = await running.one_more(api)
                    if replica.start != api:
                        raise SystemExit(f"{replica.id} was {replica.start}: {replica.start_reason}")
                    figures.setdefault("ready after ms", []).append(seconds * 1000)
                    figures.setdefault("private MB", []).append(await private_mb(replica))
                    await running.remove(replica)
    return samples


async def measure_first(repetitions: int, counts: list[int]) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {f"{count} first replicas": {} for count in counts}
    with stage.a_folder() as folder:
        async with a_stage(folder) as running:
            await running.first("forked", 1)  # all bytecode is written after this
            for _ in range(repetitions):
                for count in counts:
                    for figure, value in (await running.first("forked", count)).items():
                        samples[f"{count} first replicas"].setdefault(figure, []).append(value)
    return samples


async def private_mb(replica: Replica) -> float:
    """After a prediction, so that what only the first one needs is counted too."""
    transport = httpx.AsyncHTTPTransport(uds=replica.address)
    async with httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as client:
        (await client.post("http://replica/", json=PAYLOAD)).raise_for_status()
    return psutil.Process(replica.pid).memory_full_info().uss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7, help="of each kind; medians are shown (default 7)")
    parser.add_argument("--first", type=int, action="append", metavar="N", help="time N first replicas instead")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    if arguments.first:
        samples = asyncio.run(measure_first(arguments.repetitions, arguments.first))
        stage.print_table("an API that is new", samples)
    else:
        samples = asyncio.run(measure(arguments.repetitions))
        stage.print_table("one more replica", samples)
        for figure in ("ready after ms", "private MB"):
            ratio = statistics.median(samples["forked"][figure]) / statistics.median(samples["spawned"][figure])
            print(f"forked / spawned: {figure} {ratio:.2f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main()
