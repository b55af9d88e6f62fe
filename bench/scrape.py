"""What watching costs: a scrape of two hundred APIs, and their timelines.

scrape      GET /metrics: seconds, size, CPU of the engine and of Envoy, and the longest that another question to the
            engine had to wait meanwhile
timelines   GET /v1/timelines of the control API, likewise
watching    CPU of the engine and of Envoy with a request a second to each API, as a share of one core

Some APIs have a replica and answers of three kinds, the others are at zero.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import many
import psutil
import stage

APIS, RUNNING = 200, 20
WATCHED_S = 10.0

API = """\
- name: {name}
  handler: {{path: handler.py}}
  compute: {{cpu: 0.1}}
  networking: {{max_body: 100}}
  autoscaling: {{min_replicas: {least}, max_replicas: 2, downscale_stabilization_period: 20s}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", type=int, default=APIS, help=f"how many (default {APIS})")
    parser.add_argument("--running", type=int, default=RUNNING, help=f"of them with a replica (default {RUNNING})")
    parser.add_argument("--repetitions", type=int, default=10, help="medians are shown (default 10)")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    with stage.a_home() as home:
        samples = measure(home, arguments.apis, arguments.running, arguments.repetitions)
    for part, found in samples.items():
        stage.print_table(part, found)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(samples, indent=1) + "\n")


def measure(home: stage.Home, apis: int, running: int, repetitions: int) -> dict[str, stage.Samples]:
    home.environ["HATCHWAY_DASHBOARD_PORT"] = "0"
    (home.project / "handler.py").write_text(stage.ECHO_ASYNC)
    least = {f"api-{number:03}": int(number < running) for number in range(apis)}
    (home.project / "hatchway.yaml").write_text("".join(API.format(name=name, least=n) for name, n in least.items()))
    home.run("deploy", "--no-wait")  # on a busy machine it takes longer than a command may here
    wait_until_settled(home, apis)
    engine = Engine(home)
    ask_all(home, least)
    timelines = ("/v1/timelines", engine.control)
    return {
        "watching": {f"{apis} APIs": watching(home, least, engine)},
        "scrape": {
            f"{apis} APIs, {running} replicas": asked(engine, *engine.metrics, repetitions),
            "their timelines": asked(engine, *timelines, repetitions),
        },
    }


class Engine:
    """The engine of a home, and how to ask it."""

    def __init__(self, home: stage.Home) -> None:
        status = json.loads(home.run("status", "-o", "json"))
        url = urlsplit(status["metrics"]["url"])
        self.metrics = url.path, str(url.netloc)
        self.control = str(next(Path(home.environ["XDG_RUNTIME_DIR"]).rglob("engine.sock")))
        self.processes = {
            "engine": psutil.Process(status["engine"]["pid"]),
            "Envoy": psutil.Process(status["gateway"]["pid"]),
        }

    def cpu_s(self) -> dict[str, float]:
        return {name: many.cpu_s(process) for name, process in self.processes.items()}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def get(path: str, address: str) -> bytes:
    connection = UnixConnection(address) if address.startswith("/") else http.client.HTTPConnection(address)
    connection.request("GET", path)
    found = connection.getresponse().read()
    connection.close()
    return found


def refuse(name: str, address: str) -> None:
    """One 413, which wakes no replica. Envoy would keep a connection that waits for its end for a second."""
    connection = http.client.HTTPConnection(address)
    connection.request("POST", f"/{name}", body=b"x" * 101)
    assert connection.getresponse().status == 413
    connection.close()


def wait_until_settled(home: stage.Home, apis: int) -> None:
    """All are live or idle."""
    deadline = time.monotonic() + many.SETTLE_LIMIT_S
    while True:
        statuses = [api["status"] for api in json.loads(home.run("get", "-o", "json"))]
        if all(status in ("idle", "live") for status in statuses) and statuses.count("idle") >= apis // 2:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"not settled after {many.SETTLE_LIMIT_S:g} s: {statuses}")
        time.sleep(1)


def ask_all(home: stage.Home, least: dict[str, int]) -> None:
    """413 of all, for which no replica is woken; of those that have one, 200 and 400 besides."""
    address = home.address
    for name, n in least.items():
        refuse(name, address)
        if n:
            stage.post(address, f"/{name}", b"{}")
            stage.post(address, f"/{name}", b"no json")


def asked(engine: Engine, path: str, address: str, repetitions: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(repetitions):
        before = engine.cpu_s()
        with waits(engine) as longest:
            began = time.perf_counter()
            size = len(get(path, address))
            seconds = time.perf_counter() - began
        after = engine.cpu_s()
        figures = {"ms": seconds * 1000, "KB": size / 1000}
        figures |= {f"{name}, CPU ms": (after[name] - before[name]) * 1000 for name in after}
        for figure, value in {**figures, "others waited, ms": longest[0] * 1000}.items():
            found.setdefault(figure, []).append(value)
    return found


@contextmanager
def waits(engine: Engine) -> Iterator[list[float]]:
    """The longest that a question which costs nothing had to wait until the end of the block, in seconds."""
    longest, is_over = [0.0], threading.Event()

    def ask() -> None:
        while not is_over.wait(0.001):
            began = time.perf_counter()
            get("/v1/apis/nobody", engine.control)
            longest[0] = max(longest[0], time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield longest
    finally:
        is_over.set()
        asking.join()


def watching(home: stage.Home, least: dict[str, int], engine: Engine) -> dict[str, list[float]]:
    """One answer of Envoy's own a second for each API, so that every step of every timeline has news."""
    address, before, began = home.address, engine.cpu_s(), time.monotonic()
    while (passed := time.monotonic() - began) < WATCHED_S:
        for name in least:
            refuse(name, address)
        time.sleep(max(0.0, 1 - (time.monotonic() - began - passed)))
    seconds, after = time.monotonic() - began, engine.cpu_s()
    return {f"{name}, CPU, % of a core": [(after[name] - before[name]) / seconds * 100] for name in after}


if __name__ == "__main__":
    main()
