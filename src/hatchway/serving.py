"""Serves an application by uvicorn in a loop that belongs to somebody else, as do the signals, until cancelled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import uvicorn
from starlette.types import ASGIApp

LAST_ANSWERS_S = 1  # when it stops, streams that would go on for ever are cut after so long


def configure(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """`options` are uvicorn's own."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        forwarded_allow_ips="127.0.0.1",  # else an environment variable may have strangers say that they are local
        timeout_graceful_shutdown=LAST_ANSWERS_S,
        **options,
    )


async def serve_until_cancelled(config: uvicorn.Config, name: str, sockets: Sequence[socket.socket] = ()) -> None:
    """On `sockets`, or on the address of the configuration; then it raises SystemExit when the port is taken."""
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets) or None), name=name)
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # uvicorn's is a generator of the same use
        return nullcontext()
