"""Streams through the gateway: nothing gathers pieces, hides a failure or keeps a generator that nobody reads."""

from __future__ import annotations

import os

import httpx
import pytest

from tests.e2e.test_life import Write
from tests.e2e.verbs import deploy, get
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

HANDLER = """
import asyncio, os

class Handler:
    def __init__(self, config):
        self.made = 0
        self.left = asyncio.Event()

    async def handle_post(self, payload):
        yield {"n": 1}
        await asyncio.to_thread(lambda: open(payload["gate"]).close())
        yield {"n": 2}

    async def handle_put(self, payload):
        yield {"n": 1}
        raise RuntimeError("broken")

    async def handle_patch(self):
        try:
            while True:
                self.made += 1
                yield b"x" * 100_000
        finally:
            self.left.set()

    async def handle_get(self):
        return self.made

    async def handle_delete(self):
        await self.left.wait()
        return "left"
"""
EVENTS = {"accept": "text/event-stream"}


def test_pieces_failures_and_departures_pass_the_gateway(shell: Shell, write: Write) -> None:
    write("handler.py", HANDLER)
    endpoint = deploy(shell)["endpoint"]
    gate = str(shell.folder.parent / "gate")
    os.mkfifo(gate)
    with httpx.Client(timeout=60) as client:
        with client.stream("POST", endpoint, json={"gate": gate}, headers=EVENTS) as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b'data: {"n":1}\n\n'
            with open(gate, "w"):
                assert b"".join(pieces) == b'data: {"n":2}\n\n'

        assert b"event: error\n" in client.put(endpoint, json=1, headers=EVENTS).content
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            client.put(endpoint, json=1)

        with client.stream("PATCH", endpoint) as answer:
            next(answer.iter_raw())
            made = -1
            while (now := client.get(endpoint).json()) != made:  # until the buffers on the way are full
                made = now
            assert made < 200
        assert client.delete(endpoint).text == "left"
    assert get(shell)["status"] == "live"
