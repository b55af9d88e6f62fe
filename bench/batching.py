"""Batching through the gateway, beside mosec without one: interleaved in one run, medians of several repetitions.

    job    5 ms for each batch and 0.1 ms for each item, at most 32 items: one worker can do 3902 items a second
    iris   scikit-learn's logistic regression on four numbers, one row for each request
    alone  what batching adds to the latency of an echo when nobody else asks

mosec's worker gets the same batches (max_wait_time 10 ms, its shortest without losing throughput here). Run
`scripts/bench overhead --install` once before.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import overhead
import stage

LONGEST_BATCH = 32
JOB_CEILING = LONGEST_BATCH / (0.005 + 0.0001 * LONGEST_BATCH)
SATURATE_S = 4.0
JOB = """
import time

def predict(payload):
    time.sleep(0.005 + 0.0001 * len(payload))
    return payload
"""
IRIS = """
import joblib

class Handler:
    def __init__(self, config):
        self.model = joblib.load(config["model"])

    def predict(self, payload):
        return self.model.predict([flower["values"] for flower in payload]).tolist()
"""
ECHO = "def predict(payload):\n    return payload\n"
TRAIN = """
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

joblib.dump(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)), "model.joblib")
"""
BATCHING = f"batching: {{max_size: {LONGEST_BATCH}}}"
FLOWER = b'{"values": [5.1, 3.5, 1.4, 0.2]}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; medians are shown (default 5)")
    repetitions = parser.parse_args().repetitions
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed (Debian's package wrk)")
    job = measure("job", repetitions, JOB, "job")
    best = sorted(job["hatchway, batching"]["requests/s"])[repetitions // 2]
    print(f"the job's ceiling is {JOB_CEILING:.0f} requests/s; Hatchway reaches {best / JOB_CEILING:.2f} of it")
    measure("iris", repetitions, IRIS, "iris", "iris-batched")
    with contextlib.ExitStack() as running:
        targets = [
            running.enter_context(stage.hatchway_echo("echo", ECHO)),
            running.enter_context(deployed("echo, batching", ECHO)),
        ]
        stage.print_table("alone", overhead.interleaved(targets, repetitions, [overhead.paced]))


def measure(part: str, repetitions: int, handler: str, *workloads: str) -> stage.Samples:
    with contextlib.ExitStack() as running:
        folder = running.enter_context(stage.a_folder())
        subprocess.run([sys.executable, "-c", TRAIN], cwd=folder, check=True)
        model = folder / "model.joblib"
        targets = [running.enter_context(deployed("hatchway, batching", handler, model))]
        targets += [running.enter_context(a_mosec(workload, model)) for workload in workloads]
        samples = overhead.interleaved(targets, repetitions, [saturate])
    stage.print_table(part, samples)
    return samples


@contextlib.contextmanager
def deployed(name: str, handler: str, model: Path | None = None) -> Iterator[stage.Target]:
    with stage.a_home() as home:
        (home.project / "handler.py").write_text(handler)
        if model is not None:
            shutil.copy(model, home.project)
        (home.project / "hatchway.yaml").write_text(
            f"name: echo\nhandler: {{path: handler.py, config: {{model: model.joblib}}, {BATCHING}}}\n"
            "autoscaling: {min_replicas: 1, max_replicas: 1}\n"
        )
        home.run("deploy")
        yield stage.Target(name, home.address, "/echo", [process.pid for process in home.processes()])


@contextlib.contextmanager
def a_mosec(workload: str, model: Path) -> Iterator[stage.Target]:
    environ = {"WORKLOAD": workload, "MODEL": str(model)}
    with stage.a_peer("mosec", app="mosec_batching_app.py", environ=environ, body=FLOWER) as target:
        target.name = f"mosec, {workload}"
        yield target


def saturate(target: stage.Target) -> dict[str, float]:
    with stage.a_folder() as folder:
        (folder / "post.lua").write_text(overhead.WRK_SCRIPT)
        command = ["wrk", "-t1", f"-c{overhead.CONNECTIONS}", f"-d{SATURATE_S:g}s", "--latency"]
        before = target.cpu_s()
        shown = subprocess.run(
            [*command, "-s", str(folder / "post.lua"), f"http://{target.address}{target.path}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        cpu_s = target.cpu_s() - before
    if "Non-2xx" in shown:
        raise SystemExit(f"{target.name} failed:\n{shown}")
    found = {name: re.search(pattern, shown) for name, pattern in _FIGURES.items()}
    assert all(found.values()), shown
    requests, rate, p99, unit = (match[1] for match in found.values() if match)
    return {
        "requests/s": float(rate),
        "p99 ms": float(p99) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit],
        "CPU us/request": cpu_s / int(requests) * 1e6,
    }


_FIGURES = {
    "requests": r"(\d+) requests in",
    "rate": r"Requests/sec:\s*([\d.]+)",
    "p99": r"99%\s+([\d.]+)",
    "unit": r"99%\s+[\d.]+(us|ms|s)",
}


if __name__ == "__main__":
    main()
