"""Requests that go on while something happens: sent on schedule by threads, every answer kept."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Load:
    """`statuses` counts answers by status; 0 stands for a connection that broke."""

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    answers: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, timeout_s: float = 30.0) -> None:
        """Until so many more answers have arrived."""
        with self.arrived:
            goal = sum(self.statuses.values()) + count
            assert self.arrived.wait_for(lambda: sum(self.statuses.values()) >= goal, timeout_s), self.statuses

    def keep(self, status: int, answer: Any) -> None:
        with self.arrived:
            self.statuses[status] += 1
            (self.answers if status == 200 else self.failures).append(answer)
            self.arrived.notify_all()


@contextmanager
def requests_to(url: str, *, per_s: float = 100, n_clients: int = 4) -> Iterator[Load]:
    """Send `per_s` requests a second over `n_clients` kept-alive connections until the block ends."""
    load, ended = Load(url), threading.Event()
    threads = [
        threading.Thread(target=_send, args=(load, ended, n_clients / per_s), name=f"client {number}")
        for number in range(n_clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join(timeout=60)


def _send(load: Load, ended: threading.Event, pause_s: float) -> None:
    with httpx.Client(timeout=30) as client:
        due = time.monotonic()
        while not ended.is_set():
            try:
                answer = client.post(load.url, json={"n": 1})
                load.keep(answer.status_code, answer.json() if answer.status_code == 200 else answer.text)
            except httpx.HTTPError as exc:
                load.keep(0, repr(exc))
            due += pause_s
            ended.wait(max(0.0, due - time.monotonic()))
