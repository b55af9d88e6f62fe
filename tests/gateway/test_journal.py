"""What Envoy notes of requests that something happened to, and how it is found again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
import pytest

from hatchway.contract import HEADER_ATTEMPT, HEADER_HELD, HEADER_OVERLOADED
from hatchway.gateway.journal import Entry, Journal, parse
from hatchway.gateway.observing import SLOW_MS
from tests.gateway.conftest import Replicas, Running, a_route
from tests.gateway.stub_replica import Request


async def refuse_first(request: Request) -> None:
    await request.read()
    if request.headers[HEADER_ATTEMPT] == "1":
        await request.respond(503, b"", **{HEADER_OVERLOADED: "1"})
    else:
        await request.respond(200, b"done")


async def ask(gateway: Running, path: str, name: str, **more: object) -> httpx.Response:
    return await gateway.client.post(path, headers={"x-request-id": name}, **more)  # type: ignore[arg-type]


async def noted(gateway: Running, name: str) -> list[Entry]:
    return await gateway.gateway.find_request(name)


async def test_a_request_is_noted_when_something_happened_to_it(gateway: Running, replicas: Replicas) -> None:
    quick = await replicas.start()
    refusing = [await replicas.start(refuse_first) for _ in range(2)]

    async def fail(request: Request) -> None:
        await request.read()
        await request.respond(500)

    async def take_a_while(request: Request) -> None:
        await request.read()
        await asyncio.sleep(SLOW_MS / 1000)
        await request.respond(200, b"at last")

    async def die(request: Request) -> None:
        request.writer.transport.abort()

    dying = await replicas.start(die)
    await gateway.serve(
        a_route("quick", quick),
        a_route("busy", *refusing),
        a_route("bad", await replicas.start(fail)),
        a_route("slow", await replicas.start(take_a_while)),
        a_route("dying", dying),
        a_route("none"),
    )
    assert (await ask(gateway, "/quick", "fine")).status_code == 200
    assert await noted(gateway, "fine") == []

    assert (await ask(gateway, "/busy/a?b=c", "retried")).status_code == 200
    (entry,) = await noted(gateway, "retried")
    assert (entry.api, entry.status, entry.attempts, entry.path) == ("busy", 200, 2, "/a?b=c")
    assert entry.last in [replica.address for replica in refusing]

    assert (await ask(gateway, "/bad", "failed")).status_code == 500
    (entry,) = await noted(gateway, "failed")
    assert (entry.api, entry.status, entry.attempts, entry.flags) == ("bad", 500, 1, ())

    assert (await ask(gateway, "/slow", "slow")).status_code == 200
    (entry,) = await noted(gateway, "slow")
    assert entry.took_s >= SLOW_MS / 1000
    assert entry.response_bytes == len("at last")

    lost = await ask(gateway, "/dying", "lost")
    (entry,) = await noted(gateway, "lost")
    assert (entry.status, entry.flags, entry.last) == (lost.status_code, ("UC",), dying.address)

    assert (await ask(gateway, "/nowhere", "astray")).status_code == 404
    (entry,) = await noted(gateway, "astray")
    assert (entry.api, entry.flags) == (None, ("NR",))


async def test_a_client_that_leaves_is_noted(gateway: Running, replicas: Replicas) -> None:
    slow = await replicas.start(lambda request: asyncio.sleep(20))
    await gateway.serve(a_route("slow", slow))
    with contextlib.suppress(httpx.ReadTimeout):
        await ask(gateway, "/slow", "left", timeout=0.2)
    (entry,) = await noted(gateway, "left")
    assert (entry.status, entry.flags, entry.last) == (0, ("DC",), slow.address)


async def test_no_client_says_that_it_was_held(gateway: Running, replicas: Replicas) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica))
    await gateway.client.post("/iris", headers={HEADER_HELD: "5 1"})
    assert HEADER_HELD not in replica.seen[0].headers


async def test_nothing_is_found_where_nothing_was_written(tmp_path: Path) -> None:
    async def nothing() -> None: ...

    assert await Journal(tmp_path / "requests.jsonl", nothing).find("x") == []


@pytest.mark.parametrize("line", [b"", b"{}", b'request_id": "x"}', json.dumps({"request_id": "x"}).encode(), b"[1]"])
def test_what_is_no_entry_is_passed_over(line: bytes) -> None:
    assert parse(line) is None
