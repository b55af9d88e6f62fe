"""Operators' control APIs: who may come in, and how requests get to the one that leads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hatchway.operator.control import Control, Entrance
from hatchway.operator.relay import Relay
from hatchway.operator.tokens import PREFIX, SESSION_KEY, Tokens, hash_of
from tests.control_api.memory_plane import MemoryPlane, a_line, an_api

TOKEN = "of-ada"


@dataclass
class Operators:
    """Two of them; `leads` says which of them, if any, and both know where that is."""

    plane: MemoryPlane
    urls: list[str]
    controls: list[Control]
    leads: int | None = 0


@asynccontextmanager
async def served(plane: MemoryPlane, folder: Path) -> AsyncIterator[Operators]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    on = Operators(plane, [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets], [])

    async def leader() -> str | None:
        return None if on.leads is None else on.urls[on.leads]

    async with AsyncExitStack() as stack:
        for number, listener in enumerate(sockets):
            entrance = Entrance(listener, Tokens(folder), frozenset({"hatchway.test"}))
            control = Control(entrance, lambda number=number: plane if on.leads == number else None, Relay(leader))  # type: ignore[misc]
            on.controls.append(control)
            serving = asyncio.create_task(control.serve())
            stack.push_async_callback(_end, serving)
        yield on


async def _end(serving: asyncio.Task[None]) -> None:
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the mounted Secret."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / f"{PREFIX}ada").write_text(hash_of(TOKEN))
    (folder / SESSION_KEY).write_text("a key\n")
    return folder


@pytest.fixture
async def on(tmp_path: Path, folder: Path) -> AsyncIterator[Operators]:
    plane = MemoryPlane(tmp_path)
    plane.change(an_api("iris"))
    async with served(plane, folder) as on:
        yield on


def with_token(url: str, token: str = TOKEN) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)


def test_tokens_are_known_by_their_hash_alone(folder: Path) -> None:
    tokens = Tokens(folder)
    assert tokens.is_token(TOKEN)
    assert not any(tokens.is_token(each) for each in ("", "of-eve", hash_of(TOKEN)))
    (folder / f"{PREFIX}eve").write_text(hash_of("of-eve"))
    (folder / f"{PREFIX}ada").unlink()
    assert (tokens.is_token("of-eve"), tokens.is_token(TOKEN)) == (True, False)
    assert not Tokens(folder / "nothing").is_token("")
    assert Tokens(folder / "nothing").session_key() != Tokens(folder / "nothing").session_key()
    (folder / SESSION_KEY).write_text("\n")
    assert tokens.session_key()


async def test_whoever_is_asked_the_one_that_leads_answers(on: Operators) -> None:
    for url in on.urls:
        async with with_token(url) as client:
            assert [each["name"] for each in (await client.get("/v1/apis")).json()] == ["iris"]
            missing = await client.post("/v1/blobs/missing", json={"hashes": ["0" * 64]})
            assert missing.json() == {"missing": ["0" * 64]}
        async with with_token(url, "of-eve") as stranger:
            assert (await stranger.get("/v1/apis")).status_code == 401


async def test_streams_are_passed_on_as_they_come(on: Operators) -> None:
    async with with_token(on.urls[1]) as client, client.stream("GET", "/v1/apis/iris/logs?follow=1") as answer:
        lines = answer.aiter_lines()
        for message in ("one", "two"):
            on.plane.change(line=a_line(message))
            while not (line := await anext(lines)):
                pass
            assert f'"{message}"' in line


async def test_while_nobody_leads_that_is_said_and_nobody_asks_in_a_circle(on: Operators) -> None:
    on.leads = None
    async with with_token(on.urls[1]) as client:
        answer = await client.get("/v1/apis")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "engine")
        on.leads = 0
        again = await client.get("/v1/apis", headers={"x-hatchway-relayed": "1"})
        assert again.status_code == 503
        assert (await client.get("/v1/apis")).is_success


async def test_a_session_of_a_browser_outlives_the_leader(on: Operators) -> None:
    code = on.controls[0].link().partition("/enter")[2]
    async with httpx.AsyncClient(base_url=on.urls[1], timeout=30) as browser:
        assert (await browser.get(f"/enter{code}")).is_success
        on.leads = 1
        assert (await browser.get("/v1/apis")).is_success
        ours = await browser.get("/v1/apis", headers={"host": "hatchway.test"})
        strange = await browser.get("/v1/apis", headers={"host": "evil.test"})
        assert (ours.status_code, strange.status_code) == (200, 403)
