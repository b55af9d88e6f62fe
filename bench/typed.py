"""What typed payloads cost: measured in one run, interleaved, medians of several repetitions.

    model     CPU per request of a replica alone: four floats untyped, and as a pydantic model, a dataclass, an array
    binary    CPU per request of a body of 1 MB: a replica (bytes, .npy) alone and behind the gateway, beside FastAPI
              that reads the body and does nothing with it, without a gateway

Needs the peers' environments: scripts/bench overhead --install.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import overhead
import stage

MEGABYTE = 1_000_000
SECONDS = 3.0
CONNECTIONS = 16

UNTYPED = "{style}def predict(payload):\n    return payload['id']\n"
MODEL = """
import pydantic

class Flower(pydantic.BaseModel):
    values: list[float]
    id: int

{style}def predict(payload: Flower):
    return payload.id
"""
DATACLASS = """
import dataclasses

@dataclasses.dataclass
class Flower:
    values: list[float]
    id: int

{style}def predict(payload: Flower):
    return payload.id
"""
BYTES = "{style}def predict(payload: bytes):\n    return len(payload)\n"
ARRAY = "import numpy\n\n{style}def predict(payload: numpy.ndarray):\n    return payload.nbytes\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["model", "binary"], metavar="PART")
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; medians are shown (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every sample, with commit and machine")
    arguments = parser.parse_args()
    parts = {"model": measure_model, "binary": measure_binary}
    results: dict[str, Any] = {"facts": overhead.facts(), "parts": {}}
    for name in arguments.only or parts:
        samples = parts[name](arguments.repetitions)
        results["parts"][name] = samples
        stage.print_table(name, samples)
        print_figures(samples)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


def measure_model(repetitions: int) -> stage.Samples:
    handlers = {"untyped": UNTYPED, "pydantic model": MODEL, "dataclass": DATACLASS}
    with contextlib.ExitStack() as running:
        targets = [
            running.enter_context(
                stage.lone_replica(f"{name}, {style.strip() or 'sync'}", text.replace("{style}", style))
            )
            for style in ("async ", "")
            for name, text in handlers.items()
        ]
        return interleaved([(target, ()) for target in targets], repetitions)


def measure_binary(repetitions: int) -> stage.Samples:
    sink = io.BytesIO()
    np.save(sink, np.arange(MEGABYTE // 4, dtype="f4"))
    with contextlib.ExitStack() as running:
        folder = running.enter_context(stage.a_folder())
        (folder / "raw").write_bytes(bytes(MEGABYTE))
        (folder / "npy").write_bytes(sink.getvalue())
        raw, npy = (str(folder / "raw"), "application/octet-stream"), (str(folder / "npy"), "application/x-npy")
        fastapi = dataclasses.replace(running.enter_context(stage.a_peer("fastapi")), path="/size")
        rows = [
            (fastapi, raw),
            (running.enter_context(stage.lone_replica("bytes, async", BYTES.replace("{style}", "async "))), raw),
            (running.enter_context(stage.lone_replica("bytes, sync", BYTES.replace("{style}", ""))), raw),
            (running.enter_context(stage.lone_replica("array, async", ARRAY.replace("{style}", "async "))), npy),
            (running.enter_context(stage.lone_replica("array, sync", ARRAY.replace("{style}", ""))), npy),
            (running.enter_context(stage.hatchway_echo("bytes, gateway", BYTES.replace("{style}", "async "))), raw),
        ]
        return interleaved(rows, repetitions)


def interleaved(rows: list[tuple[stage.Target, tuple[str, ...]]], repetitions: int) -> stage.Samples:
    """Each in turn, again and again; `rows` are servers and what client.py is told to send them."""
    samples: stage.Samples = {target.name: {} for target, _ in rows}
    for target, body in rows:
        overhead.run_client("saturate", target, 0.5, CONNECTIONS, *body)  # warm
    for _ in range(repetitions):
        for target, body in rows:
            before = target.cpu_s()
            got = overhead.run_client("saturate", target, SECONDS, CONNECTIONS, *body)
            used_us = (target.cpu_s() - before) / got["requests"] * 1e6
            samples[target.name].setdefault("CPU us/request", []).append(used_us)
            samples[target.name].setdefault("requests/s", []).append(got["requests"] / got["seconds"])
    return samples


def print_figures(samples: stage.Samples) -> None:
    """Each row beside the first one of its kind: the untyped handler, or FastAPI."""
    base_name, base = "", 0.0
    for name, row in samples.items():
        median = statistics.median(row["CPU us/request"])
        if name.startswith(("untyped", "fastapi")):
            base_name, base = name, median
        else:
            print(f"{name}: {median - base:+.1f} us, {median / base:.2f} of {base_name}")


if __name__ == "__main__":
    main()
