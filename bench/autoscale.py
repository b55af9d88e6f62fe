"""How soon replicas follow requests: a step of load, and the first request to an API that is idle at zero.

    step    1 caller, then 20 at once, of a handler that takes 200 ms; at most 10 replicas: until the first new replica
            is asked for, until the p95 latency of each second stays under twice the unloaded one
    wake    a request to an idle API, until its answer: of a handler that loads at once, and of one that takes 250 ms

A replica works on two requests at a time here. With one slot each, 20 callers would queue in pairs at 10 replicas: a
latency of exactly twice the unloaded one, which no autoscaler could bring down.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import picture
import stage

from hatchway import ApiStatus, Client
from hatchway.errors import EngineUnavailable
from hatchway.settings import Settings

NAME = "slow"
CALLERS = 20
REPLICAS = 10
CALM_S = 10.0
LOADED_S = 40.0
STEP_HANDLER = """
import time

def predict(payload):
    time.sleep(0.2)
    return payload
"""
STEP_YAML = f"""\
name: {NAME}
handler: {{path: handler.py, max_concurrency: 2}}
autoscaling: {{min_replicas: 1, max_replicas: {REPLICAS}}}
"""
LOAD_S = 0.25
WAKE_HANDLERS = {
    "loads at once": "class Handler:\n    def handle_post(self, payload):\n        return payload\n",
    "loads in 250 ms": f"""
import time

class Handler:
    def __init__(self):
        time.sleep({LOAD_S})

    def handle_post(self, payload):
        return payload
""",
}
WAKE_YAML = f"""\
name: {NAME}
handler: {{path: handler.py}}
autoscaling: {{min_replicas: 0, max_replicas: 2, window: 1s, downscale_stabilization_period: 0s}}
"""


@dataclass
class Run:
    """One step of load. All times are in seconds after the step."""

    answers: list[tuple[float, float]] = field(default_factory=list)  # (when, latency)
    replicas: list[tuple[float, int, int]] = field(default_factory=list)  # (when, asked for, ready)

    @property
    def unloaded_s(self) -> float:
        """p95 of the only caller."""
        return _p95([latency for at, latency in self.answers if at < 0])

    @property
    def first_requested_s(self) -> float:
        """Until more than one replica is asked for."""
        return next(at for at, wanted, _ in self.replicas if at > 0 and wanted > 1)

    @property
    def recovered_s(self) -> float:
        """Until the end of the last second whose p95 was not under twice the unloaded one."""
        slow = [second for second, p95_s in self.p95_by_second() if second >= 0 and p95_s >= 2 * self.unloaded_s]
        return max(slow) + 1.0 if slow else 0.0

    def p95_by_second(self) -> list[tuple[int, float]]:
        """(second, p95 of what was answered in it)."""
        by_second: dict[int, list[float]] = {}
        for at, latency in self.answers:
            by_second.setdefault(int(at // 1), []).append(latency)
        return [(second, _p95(latencies)) for second, latencies in sorted(by_second.items())]

    def replicas_at(self, at: float) -> tuple[int, int]:
        """(asked for, ready)."""
        _, wanted, ready = [one for one in self.replicas if one[0] <= at][-1]
        return wanted, ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["step", "wake"], metavar="PART", default=["step", "wake"])
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; medians are shown (default 5)")
    parser.add_argument("--svg", metavar="FILE", help="a picture of the step that took the median time to recover")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    found: dict[str, object] = {}
    if "step" in arguments.only:
        runs = [step_once() for _ in range(arguments.repetitions)]
        found["step"] = [asdict(run) for run in runs]
        stage.print_table("step", {f"1 -> {CALLERS} callers": step_figures(runs)})
        typical = sorted(runs, key=lambda run: run.recovered_s)[len(runs) // 2]
        print_seconds(typical)
        if arguments.svg:
            Path(arguments.svg).write_text(draw(typical))
    if "wake" in arguments.only:
        samples = {name: {"ms": wake(handler, arguments.repetitions)} for name, handler in WAKE_HANDLERS.items()}
        found["wake"] = samples
        stage.print_table("first answer of an idle API", samples)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")


# --- a step of load ------------------------------------------------------------------------------------------
def step_once() -> Run:
    """In a home of its own, so that nothing is remembered from the one before."""
    with stage.a_home() as home:
        (home.project / "handler.py").write_text(STEP_HANDLER)
        (home.project / "hatchway.yaml").write_text(STEP_YAML)
        home.run("deploy")
        run = Run()
        stepped_at = time.perf_counter() + CALM_S
        follow(home, lambda api: run.replicas.append((since(stepped_at), api.replicas.desired, api.replicas.ready)))
        asyncio.run(load(home.address, run, stepped_at))
        return run


def follow(home: stage.Home, see: Callable[[ApiStatus], None]) -> None:
    """Have `see` called with each state of the API; the watch ends with the engine."""

    def watch() -> None:
        socket = Settings.from_environment(home.environ).engine_socket
        with contextlib.suppress(EngineUnavailable), Client(socket=socket) as client:
            for status in client.watch(NAME):
                if isinstance(status, ApiStatus):
                    see(status)

    threading.Thread(target=watch, daemon=True).start()


async def load(address: str, run: Run, stepped_at: float) -> None:
    """Each caller asks again as soon as it is answered, on a connection that it keeps."""
    over_at = stepped_at + LOADED_S
    async with asyncio.TaskGroup() as callers:
        callers.create_task(call(address, run, stepped_at, over_at))
        await asyncio.sleep(stepped_at - time.perf_counter())
        for _ in range(CALLERS - 1):
            callers.create_task(call(address, run, stepped_at, over_at))


async def call(address: str, run: Run, stepped_at: float, over_at: float) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = stage.request(f"/{NAME}", b'{"a": 1}').replace(b"connection: close\r\n", b"")
    while (began := time.perf_counter()) < over_at:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"a request failed: {head.decode()}")
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        run.answers.append((since(stepped_at), time.perf_counter() - began))
    writer.close()


def since(moment: float) -> float:
    return time.perf_counter() - moment


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


# --- waking --------------------------------------------------------------------------------------------------
def wake(handler: str, repetitions: int) -> list[float]:
    """Milliseconds of each first request. The one before them is not counted: a template is warm after it."""
    with stage.a_home() as home:
        (home.project / "handler.py").write_text(handler)
        (home.project / "hatchway.yaml").write_text(WAKE_YAML)
        home.run("deploy")
        address = home.address
        with Client(socket=Settings.from_environment(home.environ).engine_socket) as client:
            first_ms = [wake_once(client, address) for _ in range(1 + repetitions)]
        return first_ms[1:]


def wake_once(client: Client, address: str) -> float:
    for status in client.watch(NAME):
        if isinstance(status, ApiStatus) and status.status == "idle" and not status.replica_list:
            break
    began = time.perf_counter()
    answer = stage.post(address, f"/{NAME}", b'{"a": 1}')
    if b" 200 " not in answer:
        raise SystemExit(f"the first request failed: {answer.decode()}")
    return since(began) * 1e3


# --- telling -------------------------------------------------------------------------------------------------
def step_figures(runs: list[Run]) -> dict[str, list[float]]:
    return {
        "unloaded p95 ms": [run.unloaded_s * 1e3 for run in runs],
        "first new replica after s": [run.first_requested_s for run in runs],
        "p95 recovered after s": [run.recovered_s for run in runs],
        "p95 ms at the end": [statistics.median(p95 for _, p95 in run.p95_by_second()[-10:]) * 1e3 for run in runs],
    }


def print_seconds(run: Run) -> None:
    print(f"\n{'second':>8}{'p95 ms':>10}{'asked for':>12}{'ready':>8}")
    for second, p95_s in run.p95_by_second():
        if -3 <= second < max(20, run.recovered_s + 5):
            wanted, ready = run.replicas_at(second + 1)
            print(f"{second:>8}{p95_s * 1e3:>10.0f}{wanted:>12}{ready:>8}")


def draw(run: Run) -> str:
    times = (-CALM_S, LOADED_S)
    latency = picture.Panel(
        "latency, ms",
        dots=[(at, latency * 1e3) for at, latency in run.answers],
        lines={"p95 of each second": [(second + 1.0, p95 * 1e3) for second, p95 in run.p95_by_second()]},
        levels={"twice the unloaded p95": 2e3 * run.unloaded_s},
    )
    last = run.replicas[-1]
    history = [*run.replicas, (LOADED_S, *last[1:])]
    replicas = picture.Panel(
        "replicas",
        steps={
            "asked for": [(at, wanted) for at, wanted, _ in history],
            "ready": [(at, ready) for at, _, ready in history],
        },
    )
    title = f"1, then {CALLERS} callers of a handler that takes 200 ms"
    return picture.draw(title, "seconds after the step", times, [latency, replicas])


if __name__ == "__main__":
    main()
