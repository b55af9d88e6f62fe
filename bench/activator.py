"""What the activator costs: a request that goes by way of it to a replica that is ready, beside one that does not.

That is how requests go while the engine is dead and the gateway does not know of a new replica yet. Also: the memory
of the activator when nothing is held, and with a hundred requests held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import time
from pathlib import Path

import overhead
import psutil
import stage

from hatchway.gateway.gateway import Gateway
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.processes import end_all
from hatchway.settings import Settings

HELD = 100
TIMEOUT_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; medians are shown (default 5)")
    repetitions = parser.parse_args().repetitions
    with stage.a_folder() as folder, stage.lone_replica("echo", stage.ECHO_ASYNC) as replica:
        settings = Settings(home=folder / "home", runtime_dir=folder / "run", gateway_port=0)
        settings.prepare()
        try:
            samples = asyncio.run(measure(settings, replica, repetitions))
        finally:
            end_all(settings.home_hash, grace_s=0)
    for part, found in samples.items():
        stage.print_table(part, found)


async def measure(settings: Settings, replica: stage.Target, repetitions: int) -> dict[str, stage.Samples]:
    changed = asyncio.Event()
    gateway = Gateway(settings, lambda api: changed.set())
    await gateway.start()
    run = asyncio.create_task(gateway.run())
    routes = (
        Route("direct", "/direct", (Endpoint(replica.address),), max_held=HELD),
        Route("echo", "/echo", max_held=HELD),
    )
    gateway.apply(RouteTable(routes))
    for route in routes:
        await settle(gateway, changed, route.api)
    assert gateway.pid is not None
    assert gateway.activator_pid is not None
    pids = [gateway.pid, gateway.activator_pid, *replica.pids]
    address = f"127.0.0.1:{gateway.port}"
    memory = {"idle": [pss_mb(gateway.activator_pid)]}
    clients = await hold(gateway)
    memory[f"{HELD} held"] = [pss_mb(gateway.activator_pid)]
    woken = await wake(settings, replica, clients)
    targets = [
        stage.Target("to the replica", address, "/direct", pids),
        stage.Target("by way of the activator", address, "/echo", pids),
    ]
    samples = await asyncio.to_thread(
        overhead.interleaved, targets, repetitions, [overhead.saturate, overhead.paced, one_at_a_time]
    )
    memory["after load"] = [pss_mb(gateway.activator_pid)]
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    by_when = {f"PSS MB, {when}": values for when, values in memory.items()}
    return {"requests": samples, "waking": {f"{HELD} held requests": woken}, "memory": {"activator": by_when}}


async def settle(gateway: Gateway, changed: asyncio.Event, api: str) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not gateway.settled(api):
            changed.clear()
            await changed.wait()


Clients = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def hold(gateway: Gateway) -> Clients:
    """A small request from each of so many clients."""
    clients = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(HELD)]
    for _, writer in clients:
        writer.write(stage.request("/echo", b"{}"))
    deadline = time.monotonic() + TIMEOUT_S
    while gateway.waiting() != {"echo": HELD}:
        if time.monotonic() > deadline:
            raise SystemExit(f"the activator holds {gateway.waiting()}")
        await asyncio.sleep(0.01)
    return clients


async def wake(settings: Settings, replica: stage.Target, clients: Clients) -> dict[str, list[float]]:
    """From the moment the replica can be seen."""
    came_up = time.perf_counter()
    come_up(settings, replica)

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        if b" 200 " not in await reader.readline():
            raise SystemExit("a held request failed")
        writer.close()
        return (time.perf_counter() - came_up) * 1e3

    took_ms = await asyncio.gather(*(answered(*client) for client in clients))
    return {"first answer after ms": [min(took_ms)], "last": [max(took_ms)]}


def come_up(settings: Settings, replica: stage.Target) -> None:
    """The lone replica becomes one of this home."""
    folder = Path(replica.address).parent
    (settings.replicas_dir / "r").mkdir()
    shutil.copy(folder / "launch.json", settings.replicas_dir / "r")
    for kind in ("ctl", "data"):
        settings.replica_socket("r", kind).symlink_to(folder / f"r.{kind}")


def one_at_a_time(target: stage.Target) -> dict[str, float]:
    got = overhead.run_client("saturate", target, 1.0, 1)
    return {"ms, one at a time": got["seconds"] / got["requests"] * 1e3}


def pss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


if __name__ == "__main__":
    main()
