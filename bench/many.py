"""Two hundred APIs on one engine, idle ones at zero replicas: what deploying, listing and keeping them costs.

deploy      all of them from one YAML file, with the most processes there were and the memory they took
get         `hatchway get`, the whole command
one more    a deploy of one more, until the gateway answers for it, and until the command ends
at rest     CPU of the engine, of Envoy and of the activator over 20 s, as a share of one core; their PSS
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import stage

APIS = 200
AT_REST_S = 20.0
SAMPLE_S = 0.25
SETTLE_LIMIT_S = 600.0

API = """\
- name: {name}
  handler: {{path: handler.py}}
  autoscaling: {{min_replicas: 0, max_replicas: 2, downscale_stabilization_period: 20s}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", type=int, default=APIS, help=f"how many (default {APIS})")
    parser.add_argument("--repetitions", type=int, default=5, help="of get and one more; medians are shown (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    with stage.a_home() as home:
        samples = measure(home, arguments.apis, arguments.repetitions)
    for part, found in samples.items():
        stage.print_table(part, found)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(samples, indent=1) + "\n")


def measure(home: stage.Home, apis: int, repetitions: int) -> dict[str, stage.Samples]:
    (home.project / "handler.py").write_text(stage.ECHO_ASYNC)
    names = [f"api-{number:03}" for number in range(apis)]
    (home.project / "hatchway.yaml").write_text("".join(API.format(name=name) for name in names))
    home.run("up")
    deploy = deploy_all(home)
    wait_until_idle(home, apis)
    rest = at_rest(home)
    get = [timed(home, "get") for _ in range(repetitions)]
    more: dict[str, list[float]] = {}
    for number in range(repetitions):
        for figure, seconds in one_more(home, f"more-{number}").items():
            more.setdefault(figure, []).append(seconds)
    return {
        "deploying": {f"{apis} APIs": deploy},
        "commands": {"get": {"s": get}, **{figure: {"s": values} for figure, values in more.items()}},
        "at rest": rest,
    }


# --- deploying -----------------------------------------------------------------------------------------------
def deploy_all(home: stage.Home) -> dict[str, list[float]]:
    with watched(home) as peaks:
        seconds = timed(home, "deploy")
    return {"s": [seconds], "processes at most": [peaks["processes"]], "memory at most, MB": [peaks["bytes"] / 1e6]}


@contextlib.contextmanager
def watched(home: stage.Home) -> Iterator[dict[str, float]]:
    """The most processes of the home at once, and how much less memory the machine had to give than at first."""
    peaks = {"processes": 0.0, "bytes": 0.0}
    available = psutil.virtual_memory().available
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(SAMPLE_S):
            peaks["processes"] = max(peaks["processes"], len(home.processes()))
            peaks["bytes"] = max(peaks["bytes"], available - psutil.virtual_memory().available)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield peaks
    finally:
        is_over.set()
        watching.join()


def wait_until_idle(home: stage.Home, apis: int) -> None:
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while True:
        statuses = [api["status"] for api in json.loads(home.run("get", "-o", "json"))]
        if statuses.count("idle") == apis:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"not idle after {SETTLE_LIMIT_S:g} s: {statuses}")
        time.sleep(1)


def one_more(home: stage.Home, name: str) -> dict[str, float]:
    """The gateway is asked for it all the while the command runs."""
    yaml = home.project / f"{name}.yaml"
    yaml.write_text(API.format(name=name))
    address = home.address
    began = time.perf_counter()
    visible: list[float] = []

    def ask() -> None:
        stage.wait_for(lambda: b" 200 " in stage.post(address, f"/{name}", b"{}"))
        visible.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    home.run("deploy", yaml.name)
    done = time.perf_counter() - began
    asking.join()
    return {"one more, visible": visible[0], "one more, command": done}


def timed(home: stage.Home, *arguments: str) -> float:
    began = time.perf_counter()
    home.run(*arguments)
    return time.perf_counter() - began


# --- at rest -------------------------------------------------------------------------------------------------
def at_rest(home: stage.Home) -> stage.Samples:
    processes = {stage.label(process): process for process in home.processes()}
    before = {label: cpu_s(process) for label, process in processes.items()}
    time.sleep(AT_REST_S)
    return {
        label: {
            "CPU, % of a core": [(cpu_s(process) - before[label]) / AT_REST_S * 100],
            "PSS MB": [process.memory_full_info().pss / 1e6],
        }
        for label, process in processes.items()
    }


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
