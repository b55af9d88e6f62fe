"""The agent's two ports: one for operators, with mutual TLS, and a plain one for probes and metrics."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import nullcontext

import uvicorn
from starlette.applications import Starlette

LAST_ANSWERS_S = 1


async def serve(app: Starlette, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
    """Until cancelled. Raises SystemExit when the port is taken."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    config.load()
    config.ssl = context  # made by us: the certificates in it are replaced while it is used
    server = _Server(config)
    serving = asyncio.create_task(server.serve(), name=f"port {port}")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


class _Server(uvicorn.Server):
    """Signals belong to the agent."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # uvicorn's is a generator of the same use
        return nullcontext()
