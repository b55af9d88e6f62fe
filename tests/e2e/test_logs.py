"""`hatchway logs -f` while its API is updated, its replicas are replaced and the engine dies."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from hatchway import Client
from tests.e2e.verbs import engine_socket, get, kill_engine
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

HANDLER = """
import asyncio
import contextvars
import logging
import sys
import threading

class Handler:
    async def handle_post(self, payload, request_id):
        version = {version}
        print(f"print {{payload}} {{version}}")
        print(f"error {{payload}} {{version}}", file=sys.stderr)
        logging.getLogger("mine").error("logging %s %s", payload, version)
        await asyncio.to_thread(print, f"thread {{payload}} {{version}}")
        context = contextvars.copy_context()
        other = threading.Thread(target=context.run, args=(print, f"context {{payload}} {{version}}"))
        other.start()
        other.join()
        return version
"""


class Follower:
    """`hatchway logs -f -o json`, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[dict[str, str]] = []
        self._process = process
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            with self._changed:
                self.lines.append(json.loads(text))
                self._changed.notify_all()

    def until(self, message: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(line["message"] == message for line in self.lines), 30)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()


@contextmanager
def following(shell: Shell) -> Iterator[Follower]:
    command = ["hatchway", "logs", "echo", "-f", "-o", "json"]
    with subprocess.Popen(command, env=shell.environ, stdout=subprocess.PIPE, text=True) as process:
        follower = Follower(process)
        try:
            yield follower
        finally:
            follower.end()


def test_lines_are_followed_through_a_rollout_and_a_restart(shell: Shell, write: Callable[[str, str], None]) -> None:
    write("handler.py", HANDLER.format(version=1))
    url = shell.run("hatchway deploy -o json").json()[0]["endpoint"]
    first = get(shell)["revision"]
    asked: list[str] = []

    def ask(count: int) -> None:
        for _ in range(count):
            asked.append(f"q{len(asked)}")
            answer = http.post(url, json=asked[-1], headers={"x-request-id": asked[-1]})
            assert answer.status_code == 200

    with httpx.Client(timeout=30) as http, following(shell) as follower:
        ask(3)
        follower.until("context q2 1")
        write("handler.py", HANDLER.format(version=2))
        shell.run("hatchway deploy")
        ask(3)
        kill_engine(shell)
        ask(3)
        follower.until("context q8 2")
        lines = [line for line in follower.lines if line["stream"] != "replica"]

    second = get(shell)["revision"]
    expected = [
        (f"{word} q{number} {1 if number < 3 else 2}", stream, level, f"q{number}", first if number < 3 else second)
        for number in range(9)
        for word, stream, level in [
            ("print", "stdout", "INFO"),
            ("error", "stderr", "WARNING"),
            ("mine: logging", "logging", "ERROR"),
            ("thread", "stdout", "INFO"),
            ("context", "stdout", "INFO"),
        ]
    ]
    told = [tuple(line[key] for key in ("message", "stream", "level", "request_id", "revision")) for line in lines]
    assert told == expected  # each once, in order

    with Client(socket=engine_socket(shell)) as client:

        def messages(**filters: str) -> list[str]:
            return [line.message for line in client.logs("echo", **filters)]  # type: ignore[arg-type]

        assert messages(level="error") == [one[0] for one in expected if one[2] == "ERROR"]
        assert messages(text="thread q7 ") == ["thread q7 2"]
        assert messages(revision=first, level="warning", text="error") == [f"error q{n} 1" for n in range(3)]
        assert messages(request_id="q8") == [one[0] for one in expected if one[3] == "q8"]
        assert messages(since="2020-01-01", until="2020-01-02") == []
        moment = next(line["time"] for line in lines if line["request_id"] == "q6")
        early = messages(until=moment)
        assert "context q4 2" in early
        assert "context q8 2" not in early
        assert set(messages(since=moment)) >= {one[0] for one in expected if one[3] in ("q7", "q8")}
