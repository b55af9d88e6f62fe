from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from hatchway.serving import configure, serve_until_cancelled


async def tell_caller(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})


async def test_an_environment_variable_does_not_have_callers_say_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        config = configure(tell_caller)
        serving = asyncio.create_task(serve_until_cancelled(config, "test", [listener]))
        host, port = listener.getsockname()
        source = httpx.AsyncHTTPTransport(local_address="127.0.0.3", retries=10)
        async with httpx.AsyncClient(transport=source) as http:
            answer = await http.get(f"http://{host}:{port}", headers={"x-forwarded-for": "127.0.0.1"})
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    assert answer.text == "127.0.0.3"
