"""How long from `hatchway deploy model.joblib` to the first answer, with the engine up: the command's own start,
reading the file, the replica's start, the gateway, and one request.

`first of its kind` is the first scikit-learn model of a home, whose replica imports scikit-learn itself; `another one`
is forked from a process that has imported it, or imports it beside that one where it is not ready yet; `up to date`
is the same file again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import httpx
import joblib
import stage
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

AIM_S = 4.0
FLOWER = [6.5, 3.0, 5.5, 2.0]


def write_model(path: Path, strength: float) -> None:
    """A model of its own for each `strength`: what was deployed before must not answer for it."""
    x, y = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(C=strength, max_iter=1000).fit(x, y), path)


def first_answer(home: stage.Home, address: str, model: Path) -> float:
    """Seconds from the command to an answer."""
    began = time.perf_counter()
    home.run("deploy", str(model))
    answer = httpx.post(f"http://{address}/{model.stem}", json=FLOWER, timeout=60, trust_env=False).json()
    seconds = time.perf_counter() - began
    if answer["prediction"] != 2:
        raise SystemExit(f"a wrong answer: {answer}")
    return seconds


def measure(repetitions: int) -> stage.Samples:
    samples: stage.Samples = {"first of its kind": {}, "another one": {}, "up to date": {}}
    for repetition in range(repetitions):
        with stage.a_home() as home:
            home.run("up")
            address = home.address
            for name in ("first", "second"):
                write_model(home.folder / f"{name}.joblib", 0.1 + repetition + len(name))
            for kind, name in (("first of its kind", "first"), ("another one", "second"), ("up to date", "second")):
                seconds = first_answer(home, address, home.folder / f"{name}.joblib")
                samples[kind].setdefault("answer after s", []).append(seconds)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="each in a home of its own (default 3)")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    samples = measure(arguments.repetitions)
    stage.print_table("from `hatchway deploy model.joblib` to the first answer", samples)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(samples, indent=1) + "\n")
    slowest = max(value for figures in samples.values() for value in figures["answer after s"])
    print(f"slowest {slowest:.1f} s, aim {AIM_S:g} s")
    sys.exit(slowest > AIM_S)


if __name__ == "__main__":
    main()
