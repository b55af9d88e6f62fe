"""The replica's HTTP connection under atheris: any bytes, cut anywhere, answered at once or late.

    scripts/fuzz 60

The first bytes of an input say where the rest is cut. The rules are those of tests/replica/parser_drive.py.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hatchway.replica.connection"]):
    from tests.replica.parser_drive import run
from tests.replica.test_connection_fuzz import SEEDS, cut

N_CUTS = 4


def make_target(loop: asyncio.AbstractEventLoop) -> atheris.TestOneInput:
    def target(data: bytes) -> None:
        places, rest = [4 * byte for byte in data[:N_CUTS]], data[N_CUTS:]
        whole = run([rest], loop)
        assert run(cut(rest, places), loop) == whole, "where it is cut matters"
        assert run(cut(rest, places), loop, is_slow=True) == whole, "when it is answered matters"

    return target


def write_corpus(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (folder / f"seed-{number}").write_bytes(bytes(range(20, 20 + N_CUTS)) + seed + SEEDS[0])


def main() -> None:
    write_corpus(Path(sys.argv[-1]))
    with asyncio.Runner() as runner:
        atheris.Setup(sys.argv, make_target(runner.get_loop()))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
