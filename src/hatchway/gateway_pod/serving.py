"""The agent's two ports: one for operators, with mutual TLS, and a plain one for probes and metrics."""

from __future__ import annotations

import ssl

from starlette.applications import Starlette

from hatchway.serving import configure, serve_until_cancelled


async def serve(app: Starlette, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
    """Until cancelled. Raises SystemExit when the port is taken."""
    config = configure(app, host=host, port=port)
    config.load()
    config.ssl = context  # made by us: the certificates in it are replaced while it is used
    await serve_until_cancelled(config, f"port {port}")
