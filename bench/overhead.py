"""What Hatchway costs, beside what others cost: measured in one run, interleaved, medians of several repetitions.

    replica   CPU per request of a replica alone, async and sync
    gateway   echo JSON through the gateway, beside FastAPI + uvicorn and mosec without one: CPU per request of all
              their processes, requests a second at saturation, latency at 500 requests a second
    start     engine start to the first answer of a trained iris API; a second deploy of it
    idle      memory of all Hatchway processes with nothing deployed

Run with --install once: it makes a virtual environment for each peer under bench/.envs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stage

CLIENT = Path(__file__).with_name("client.py")
CONNECTIONS = 64
RATE = 500
SATURATE_S = 4.0
PACED_S = 6.0
WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = '{"values": [5.1, 3.5, 1.4, 0.2], "id": 7}'
wrk.headers["content-type"] = "application/json"
"""


def main() -> None:
    arguments = parse_arguments()
    if arguments.install:
        stage.install_peers()
        return
    parts: dict[str, Callable[[int], stage.Samples]] = {
        "replica": measure_replica,
        "gateway": measure_gateway,
        "start": measure_start,
        "idle": measure_idle,
    }
    results: dict[str, Any] = {"facts": facts(), "parts": {}}
    for name in arguments.only or parts:
        samples = parts[name](arguments.repetitions)
        results["parts"][name] = samples
        stage.print_table(name, samples)
        if "fastapi" in samples:
            print_ratios(samples)
    if arguments.json:
        results["facts"]["load_at_end"] = os.getloadavg()
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the peers' environments, and end")
    parser.add_argument("--only", nargs="+", choices=["replica", "gateway", "start", "idle"], metavar="PART")
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; medians are shown (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every sample, with commit and machine")
    return parser.parse_args()


# --- parts ---------------------------------------------------------------------------------------------------
def measure_replica(repetitions: int) -> stage.Samples:
    with contextlib.ExitStack() as running:
        targets = [
            running.enter_context(stage.lone_replica("replica, async handler", stage.ECHO_ASYNC)),
            running.enter_context(stage.lone_replica("replica, sync handler", stage.ECHO_SYNC)),
        ]
        return interleaved(targets, repetitions, [saturate_with_client])


def measure_gateway(repetitions: int) -> stage.Samples:
    with contextlib.ExitStack() as running:
        targets = [
            running.enter_context(stage.hatchway_echo("hatchway, async handler", stage.ECHO_ASYNC)),
            running.enter_context(stage.hatchway_echo("hatchway, sync handler", stage.ECHO_SYNC)),
            running.enter_context(stage.a_peer("fastapi")),
            running.enter_context(stage.a_peer("mosec")),
        ]
        return interleaved(targets, repetitions, [saturate, paced])


def measure_start(repetitions: int) -> stage.Samples:
    samples: stage.Samples = {}
    for _ in range(repetitions):
        with stage.a_home() as home:
            for figure, seconds in start_once(home).items():
                samples.setdefault(figure, {}).setdefault("seconds", []).append(seconds)
    return samples


def measure_idle(repetitions: int) -> stage.Samples:
    samples: stage.Samples = {}
    for _ in range(repetitions):
        with stage.a_home() as home:
            home.run("up")
            time.sleep(2)  # what is only needed to start has gone by then
            found = home.pss_bytes()
            for name, pss in found.items():
                label = re.sub(r" \d+$", "", name)
                samples.setdefault(f"  {label}", {}).setdefault("PSS MB", []).append(pss / 1e6)
            samples.setdefault("all processes", {}).setdefault("PSS MB", []).append(sum(found.values()) / 1e6)
    return samples


# --- one measurement -----------------------------------------------------------------------------------------
def interleaved(
    targets: list[stage.Target], repetitions: int, actions: list[Callable[[stage.Target], dict[str, float]]]
) -> stage.Samples:
    """Each action on each target in turn, again and again: what disturbs the machine disturbs all of them."""
    samples: stage.Samples = {target.name: {} for target in targets}
    for target in targets:
        run_client("saturate", target, 0.5, CONNECTIONS)  # warm
    for _ in range(repetitions):
        for action in actions:
            for target in targets:
                for figure, value in action(target).items():
                    samples[target.name].setdefault(figure, []).append(value)
    return samples


def saturate(target: stage.Target) -> dict[str, float]:
    """With wrk where it is installed: it leaves the most of the machine to the server."""
    if shutil.which("wrk") is None:
        return saturate_with_client(target)
    with stage.a_folder() as folder:
        (folder / "post.lua").write_text(WRK_SCRIPT)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SATURATE_S:g}s", "-s", str(folder / "post.lua")]
        before = target.cpu_s()
        shown = subprocess.run(
            [*command, f"http://{target.address}{target.path}"], capture_output=True, text=True, check=True
        ).stdout
        cpu_s = target.cpu_s() - before
    if "Non-2xx" in shown:
        raise SystemExit(f"{target.name} failed:\n{shown}")
    requests = int(re.search(r"(\d+) requests in", shown)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", shown)[1])  # type: ignore[index]
    return {"CPU us/request": cpu_s / requests * 1e6, "requests/s": rate}


def saturate_with_client(target: stage.Target) -> dict[str, float]:
    before = target.cpu_s()
    got = run_client("saturate", target, SATURATE_S, CONNECTIONS)
    cpu_s = target.cpu_s() - before
    return {"CPU us/request": cpu_s / got["requests"] * 1e6, "requests/s": got["requests"] / got["seconds"]}


def paced(target: stage.Target) -> dict[str, float]:
    got = run_client("paced", target, PACED_S, RATE)
    return {f"p50 ms @{RATE}": got["p50_ms"], f"p99 ms @{RATE}": got["p99_ms"]}


def run_client(action: str, target: stage.Target, seconds: float, amount: float, *body: str) -> dict[str, float]:
    """`body`: the file to send and its content type, if it is not the usual one."""
    command = [sys.executable, str(CLIENT), action, target.address, target.path, str(seconds), str(amount), *body]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{target.name}: the client failed:\n{done.stderr}")
    got: dict[str, float] = json.loads(done.stdout)
    if got["failed"]:
        raise SystemExit(f"{target.name}: {got['failed']:g} requests failed")
    return got


def start_once(home: stage.Home) -> dict[str, float]:
    """The iris example: trained first, then deployed, brought back, and deployed again with a change."""
    shutil.copytree(stage.REPOSITORY / "examples" / "01-iris", home.project, dirs_exist_ok=True)
    subprocess.run([sys.executable, "train.py"], cwd=home.project, check=True, capture_output=True)
    yaml = home.project / "hatchway.yaml"
    name = re.search(r"name:\s*(\S+)", yaml.read_text())[1]  # type: ignore[index]
    body = (home.project / "request.json").read_bytes()
    found = {}

    def timed(figure: str, *arguments: str, differs_from: bytes = b"") -> bytes:
        began = time.perf_counter()
        home.run(*arguments)
        address = home.address
        revision = b""

        def answered() -> bool:
            nonlocal revision
            answer = stage.post(address, f"/{name}", body)
            found_revision = re.search(rb"x-hatchway-revision: (\S+)", answer, re.IGNORECASE)
            revision = found_revision[1] if b" 200 " in answer and found_revision else b""
            return bool(revision) and revision != differs_from

        stage.wait_for(answered)
        found[figure] = time.perf_counter() - began
        return revision

    first = timed("first deploy into a new home", "deploy")
    home.run("down")
    timed("engine start to first answer", "up")
    with open(home.project / "handler.py", "a") as file:
        file.write("\n# changed\n")
    timed("second deploy, changed handler", "deploy", differs_from=first)
    return found


# --- telling -------------------------------------------------------------------------------------------------
def print_ratios(samples: stage.Samples) -> None:
    """How Hatchway compares, by medians."""
    ours = samples["hatchway, async handler"]
    for peer in ("fastapi", "mosec"):
        ratios = [
            f"{figure} {statistics.median(ours[figure]) / statistics.median(theirs):.2f}"
            for figure, theirs in samples[peer].items()
        ]
        print(f"hatchway (async) / {peer}: " + ", ".join(ratios))


def facts() -> dict[str, Any]:
    """Where and of what the figures are."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=stage.REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "commit": commit,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "client": "wrk" if shutil.which("wrk") else "client.py",
        "load_at_start": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
