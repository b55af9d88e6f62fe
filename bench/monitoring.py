"""What prediction monitoring costs: CPU of a request in the replica, and the monitor's process.

sampler   CPU per request of what is added to it: taking the fields out, keeping them, packing them once a second
replica   CPU per request of a replica alone, with and without, in one run; on a busy machine the difference drowns
monitor   CPU share and memory of the monitor with 100 APIs of 10 fields at 5 requests/s each, and of an idle one

scripts/bench monitoring
scripts/bench monitoring --only replica --repetitions 9
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import overhead
import psutil
import stage

from hatchway.contract import CONTROL_SAMPLES, SampleTerms
from hatchway.monitoring.terms import Watched, to_json
from hatchway.replica.sampling.look import Records
from hatchway.replica.sampling.sampler import Sampler

N_APIS = 100
N_FIELDS = 10
RATE = 5  # requests a second of each API
WARM_S = 75.0  # past the first minute: panes have been closed by then
MEASURED_S = 60.0
IDLE_S = 20.0
N_SAMPLED = 20_000
JSON = "application/json"

HANDLER = "async def predict(payload):\n    return {'score': 0.5}\n"
PAYLOADS = {
    "20 numbers": (json.dumps({f"field_{n}": n * 1.37 for n in range(20)}).encode(), JSON),
    "4 numbers": (json.dumps({f"field_{n}": n * 1.37 for n in range(4)}).encode(), JSON),
    "bytes": (b"x" * 100, "application/octet-stream"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["sampler", "replica", "monitor"], metavar="PART")
    parser.add_argument("--repetitions", type=int, default=5, help="medians are shown (default 5)")
    arguments = parser.parse_args()
    parts = {
        "sampler": lambda: measure_sampler(arguments.repetitions),
        "replica": lambda: measure_replica(arguments.repetitions),
        "monitor": measure_monitor,
    }
    for name in arguments.only or parts:
        stage.print_table(name, parts[name]())


# --- sampler -------------------------------------------------------------------------------------------------
class _Call:
    """What a sampler is told of a request."""

    request_id, body, came_at = "id", b"", 0.0

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.looks: Records = ()


def measure_sampler(repetitions: int) -> stage.Samples:
    """Payload in, {"score": 0.5} out. The sampler sends as often as it would to a monitor that keeps up."""
    samples: stage.Samples = {}
    for _ in range(repetitions):
        for name, (body, content_type) in PAYLOADS.items():
            payload = json.loads(body) if content_type == JSON else body
            samples.setdefault(name, {}).setdefault("us", []).append(asyncio.run(_sample(payload)))
    return samples


async def _sample(payload: object) -> float:
    sampler = Sampler()
    sampler.open()
    began = time.process_time()
    for number in range(N_SAMPLED):
        call = _Call()
        is_sampled = sampler.takes()
        if is_sampled:
            call.looks = sampler.look(payload, "input")
        if is_sampled:
            call.looks += sampler.look({"score": 0.5}, "output")
        sampler.keep(call, is_sampled=is_sampled)
        if number % 400 == 0:
            sampler._pack()
    return (time.process_time() - began) / N_SAMPLED * 1e6


# --- replica -------------------------------------------------------------------------------------------------
def measure_replica(repetitions: int) -> stage.Samples:
    """Each payload with a listener that wants nothing and with one that wants all, in turn."""
    samples: stage.Samples = {}
    with contextlib.ExitStack() as running:
        replica = running.enter_context(stage.lone_replica("replica", HANDLER))
        folder = running.enter_context(stage.a_folder())
        control = replica.address.removesuffix(".data") + ".ctl"
        for _ in range(repetitions):
            for name, (body, content_type) in PAYLOADS.items():
                file = folder / "body"
                file.write_bytes(body)
                for is_on in (False, True):
                    with listening(control, SampleTerms(enabled=is_on)):
                        overhead.run_client("saturate", replica, 0.3, 8, str(file), content_type)
                        before = replica.cpu_s()
                        found = overhead.run_client("saturate", replica, 1.0, 8, str(file), content_type)
                        cost_us = (replica.cpu_s() - before) / found["requests"] * 1e6
                    samples.setdefault(name, {}).setdefault("with, us" if is_on else "without, us", []).append(cost_us)
    for figures in samples.values():
        pairs = zip(figures["with, us"], figures["without, us"], strict=True)
        figures["difference, us"] = [after - before for after, before in pairs]
    return samples


@contextlib.contextmanager
def listening(control: str, terms: SampleTerms) -> Iterator[None]:
    """What the monitor does: read and throw away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(control)
        sock.sendall(f"GET {CONTROL_SAMPLES}?terms={quote(terms.to_json())} HTTP/1.0\r\nhost: x\r\n\r\n".encode())
        sock.recv(4096)
        reader = threading.Thread(target=_drain, args=(sock,))
        reader.start()
        try:
            yield
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            reader.join()


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 20):
            pass


# --- monitor -------------------------------------------------------------------------------------------------
def measure_monitor() -> stage.Samples:
    """Replicas are played by this process: they send what real ones would."""
    with stage.a_folder() as folder:
        sockets, replicas, own = folder / "r", folder / "replicas", folder / "monitoring"
        for each in (sockets, replicas, own):
            each.mkdir()
        apis = {f"api-{n}": Watched("rev", SampleTerms()) for n in range(N_APIS)}
        (own / "terms.json").write_text(to_json(apis))
        for api in apis:
            (replicas / api).mkdir()
            (replicas / api / "launch.json").write_text(json.dumps({"api": api, "revision": "rev"}))
        command = [sys.executable, "-P", "-m", "hatchway.monitoring"]
        command += [str(folder / "m.sock"), str(own), str(sockets), str(replicas)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
            try:
                return asyncio.run(_measure(psutil.Process(process.pid), sockets, list(apis), own))
            finally:
                process.terminate()
                process.wait()


async def _measure(monitor: psutil.Process, sockets: Path, apis: list[str], own: Path) -> stage.Samples:
    await asyncio.sleep(3)
    idle_bytes = monitor.memory_full_info().uss
    idle_share = await _share(monitor, IDLE_S)
    servers = [await asyncio.start_unix_server(_replica, sockets / f"{api}.ctl") for api in apis]
    await asyncio.sleep(5)
    await asyncio.sleep(WARM_S)
    busy_share = await _share(monitor, MEASURED_S)
    busy_bytes = monitor.memory_full_info().uss
    for server in servers:
        server.close()
    return {
        "idle": {"% of a core": [idle_share * 100], "MB": [idle_bytes / 1e6]},
        f"{N_APIS} APIs": {
            "% of a core": [busy_share * 100],
            "MB": [busy_bytes / 1e6],
            "MB per API": [(busy_bytes - idle_bytes) / 1e6 / N_APIS],
            "disk MB": [(own / "monitoring.db").stat().st_size / 1e6],
        },
    }


async def _share(process: psutil.Process, seconds: float) -> float:
    before, started = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    return float(sum(process.cpu_times()[:2]) - before) / (time.monotonic() - started)


async def _replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await asyncio.sleep(random.random())
        while not writer.is_closing():
            columns = {f"field_{n}": [random.gauss(0, 1) for _ in range(RATE)] for n in range(N_FIELDS - 1)}
            tables = {
                "input": {"count": RATE, "columns": columns},
                "output": {"count": RATE, "columns": {"label": random.choices("abc", k=RATE)}},
            }
            writer.write(json.dumps({"seen": RATE, "sampled": RATE, "tables": tables}).encode() + b"\n")
            await writer.drain()
            await asyncio.sleep(1)


if __name__ == "__main__":
    main()
