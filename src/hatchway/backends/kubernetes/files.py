"""Contents of projects for pods that start, by their SHA-256, over HTTP.

    GET /contents/SHA256   the content; with a Range, what is left of it
    POST /bundle           a SHA-256 a line -> for each: it, a space, its size in bytes, a line feed, its content

Only with the token that pods are given, which opens nothing else. Nothing is remembered: every operator that sees the
contents can answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from hatchway.errors import UsageError

MAX_IN_BUNDLE = 10_000


class Contents(Protocol):
    """Where they are kept."""

    def path(self, sha256: str) -> Path:
        """Where one is, or would be. Raises UsageError for what is not a SHA-256."""
        ...


def reading_token(token: str) -> str:
    """What pods show: made from the operator's token, which also lets people upload."""
    return hmac.new(token.encode(), b"read the contents of projects", hashlib.sha256).hexdigest()


class ProjectFiles:
    """`token`: the operator's."""

    def __init__(self, contents: Contents, token: str) -> None:
        self._contents = contents
        self._expected = f"Bearer {reading_token(token)}"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/contents/{sha256}", self._send, methods=["GET"]),
                Route("/bundle", self._send_bundle, methods=["POST"]),
            ]
        )

    async def _send(self, request: Request) -> Response:
        self._check(request)
        return FileResponse(self._find(request.path_params["sha256"]))

    async def _send_bundle(self, request: Request) -> Response:
        self._check(request)
        hashes = (await request.body()).decode(errors="replace").split()
        if len(hashes) > MAX_IN_BUNDLE:
            raise HTTPException(400, f"more than {MAX_IN_BUNDLE} at once")
        found = [(sha256, self._find(sha256)) for sha256 in hashes]

        async def bundle() -> AsyncIterator[bytes]:
            for sha256, path in found:
                content = await asyncio.to_thread(path.read_bytes)
                yield f"{sha256} {len(content)}\n".encode() + content

        return StreamingResponse(bundle(), media_type="application/octet-stream")

    def _find(self, sha256: str) -> Path:
        try:
            path = self._contents.path(sha256)
        except UsageError as exc:
            raise HTTPException(400, exc.message) from exc
        if not path.is_file():
            raise HTTPException(404, f"there is no content {sha256}")
        return path

    def _check(self, request: Request) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", ""), self._expected):
            raise HTTPException(401, "this needs the token of the pods")
