"""The latency of an API while it is updated, beside before: a new revision of two replicas, at a steady rate.

Measured from when each request was due, by an open-loop client (steady.py); requests that take 3 s and streams go on
besides. "during" is from the start of `hatchway deploy` until the last old replica has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import stage

from hatchway import Client

N_REPLICAS = 2
RATE_PER_S = 300
LONG_PER_S = 1
BEFORE_S = 10.0
CONNECT_S = 1.0  # at the start of a client; not counted
HANDLER = """
import asyncio

VERSION = {version}

async def predict(payload):
    if "stream_s" in payload:
        return stream(payload["stream_s"])
    await asyncio.sleep(payload.get("sleep_s", 0))
    return VERSION

async def stream(seconds):
    for _ in range(int(seconds * 10)):
        yield "more\\n"
        await asyncio.sleep(0.1)
"""
YAML = f"""
name: echo
handler: {{path: handler.py}}
autoscaling: {{min_replicas: {N_REPLICAS}, max_replicas: {N_REPLICAS}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="updates; medians are shown (default 5)")
    parser.add_argument("--rate", type=int, default=RATE_PER_S, help=f"requests per second (default {RATE_PER_S})")
    options = parser.parse_args()
    samples: stage.Samples = {"before": {}, "during": {}, "during / before": {}, "all": {}}
    with stage.a_home() as home:
        (home.project / "hatchway.yaml").write_text(YAML)
        write(home, version=0)
        home.run("deploy")
        for version in range(1, options.repetitions + 1):
            one_update(home, version, options.rate, samples)
    stage.print_table(f"update at {options.rate}/s", samples)


def one_update(home: stage.Home, version: int, rate: int, samples: stage.Samples) -> None:
    with a_client(home.address, rate) as account:
        time.sleep(CONNECT_S)
        began = time.monotonic()
        time.sleep(BEFORE_S)
        write(home, version)
        updated = time.monotonic()
        home.run("deploy")
        wait_drained(home)
        over = time.monotonic()
    before, during = (
        [latency_s * 1e3 for due, latency_s in account["latencies"] if start <= due < end]
        for start, end in ((began, updated), (updated, over))
    )
    for name, found in (("before", before), ("during", during)):
        keep(samples[name], {"p50 ms": quantile(found, 0.5), "p95 ms": quantile(found, 0.95), "max ms": max(found)})
    keep(samples["during / before"], {"p95 ms": quantile(during, 0.95) / quantile(before, 0.95)})
    n_sent = sum(account["sent"].values())
    keep(samples["all"], {"requests": n_sent, "failed": n_failed(account), "update s": over - updated})


def write(home: stage.Home, version: int) -> None:
    (home.project / "handler.py").write_text(HANDLER.format(version=version))


def wait_drained(home: stage.Home) -> None:
    """Until the old replicas have gone. Not by commands: starting them takes a core from what is measured."""
    socket = next((home.folder / "run").rglob("engine.sock"))
    with Client(socket=socket) as client:
        next(status for status in client.watch("echo") if len(status.replica_list) == N_REPLICAS)


@contextlib.contextmanager
def a_client(address: str, rate: int) -> Iterator[dict[str, Any]]:
    """Its account, which is filled in when the block ends."""
    port = address.rpartition(":")[2]
    command = [sys.executable, str(stage.HERE / "steady.py"), port, "/echo", str(rate), str(LONG_PER_S)]
    account: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as output:
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True)
        try:
            yield account
        finally:
            client.communicate(timeout=60)  # ends its input
        output.seek(0)
        account.update(json.loads(output.read().splitlines()[-1]))


def n_failed(account: dict[str, Any]) -> int:
    """Every request that has not got a complete answer with status 200."""
    good = sum(statuses.get("200", 0) for statuses in account["statuses"].values())
    return int(sum(account["sent"].values()) - good)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def keep(row: dict[str, list[float]], figures: dict[str, float]) -> None:
    for name, value in figures.items():
        row.setdefault(name, []).append(value)


if __name__ == "__main__":
    main()
