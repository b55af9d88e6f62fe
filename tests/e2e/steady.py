"""The open-loop client of bench/steady.py beside a test: a process of its own, which a busy test does not slow down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.shell import REPOSITORY

SHORT_PER_S = 500
LONG_PER_S = 2  # of each of the two kinds: six of each are always on their way
END_LIMIT_S = 40.0


class Outcome(NamedTuple):
    """What became of all requests; the fields of `account` are described in bench/steady.py."""

    account: dict[str, Any]

    @property
    def n_sent(self) -> int:
        return sum(self.account["sent"].values())

    @property
    def per_s(self) -> float:
        return float(self.n_sent / self.account["seconds"])

    @property
    def failed(self) -> dict[str, int]:
        """By kind and what happened: a status, `broken`, `cut`; or `unanswered`. Empty when all is well."""
        found: Counter[str] = Counter()
        for kind, statuses in self.account["statuses"].items():
            found.update({f"{kind} {status}": count for status, count in statuses.items() if status != "200"})
        for what in ("broken", "cut"):
            found.update({f"{kind} {what}": count for kind, count in self.account[what].items()})
        found["unanswered"] = self.account["unanswered"]
        return dict(+found)

    @property
    def answered(self) -> list[str]:
        """The ids of all requests that were answered with 200."""
        return [each for ids in self.account["ids"].values() for each in ids]


class Steady:
    """The client while it runs; `outcome` is there when it has ended."""

    def __init__(self, url: str) -> None:
        port, _, path = url.removeprefix("http://127.0.0.1:").partition("/")
        self.outcome = Outcome({})
        self._answered = 0
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(REPOSITORY / "bench" / "steady.py"),
                port,
                f"/{path}",
                str(SHORT_PER_S),
                str(LONG_PER_S),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="steady client")
        self._reader.start()

    def wait_for(self, seconds: float, timeout_s: float = 30.0) -> None:
        """Until so many seconds' worth of short requests more have been answered, with whatever status."""
        with self._changed:
            goal = self._answered + seconds * SHORT_PER_S
            assert self._changed.wait_for(lambda: self._answered >= goal, timeout_s), "the client got no answers"

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(END_LIMIT_S)
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                found = json.loads(line)
                if "answered" not in found:
                    self.outcome = Outcome(found)
                    continue
                with self._changed:
                    self._answered = found["answered"]
                    self._changed.notify_all()


@contextmanager
def steady(url: str) -> Iterator[Steady]:
    """Requests to an address of this machine until the block ends."""
    client = Steady(url)
    try:
        client.wait_for(0.5)
        yield client
    finally:
        client.end()
