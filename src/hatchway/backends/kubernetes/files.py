"""Contents of projects for pods that start, by their SHA-256, over HTTP.

    GET /contents/SHA256   the content; with a Range, what is left of it
    POST /bundle           a SHA-256 a line -> for each: it, a space, its size in bytes, a line feed, its content

Only with the token that pods are given, which opens nothing else. Nothing is remembered: every operator that sees the
contents can answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hatchway.errors import HatchwayError

MAX_IN_BUNDLE = 10_000
_BYTES = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d+)-")


class Content(Protocol):
    """`size_bytes` is of all of it, wherever `chunks` begin."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def chunks(self) -> AsyncIterator[bytes]: ...


class Contents(Protocol):
    """Where they are kept."""

    async def read(self, sha256: str, start: int = 0) -> Content:
        """From byte `start` on, which is not the last. Raises UsageError, NotFound or StorageError."""
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
        range = _RANGE.fullmatch(request.headers.get("range", ""))
        start = int(range[1]) if range else 0
        content = await self._read(request.path_params["sha256"], start)
        headers = {"content-length": str(content.size_bytes - start)}
        if start:
            headers["content-range"] = f"bytes {start}-{content.size_bytes - 1}/{content.size_bytes}"
        return StreamingResponse(content.chunks, 206 if start else 200, headers, _BYTES)

    async def _send_bundle(self, request: Request) -> Response:
        """One after the other: what is missing cuts the answer off, and is told of when it is asked for alone."""
        self._check(request)
        hashes = (await request.body()).decode(errors="replace").split()
        if not 0 < len(hashes) <= MAX_IN_BUNDLE:
            raise HTTPException(400, f"1 to {MAX_IN_BUNDLE} contents at once, one SHA-256 a line")
        first = await self._read(hashes[0])

        async def bundle() -> AsyncIterator[bytes]:
            for number, sha256 in enumerate(hashes):
                content = first if number == 0 else await self._contents.read(sha256)
                yield f"{sha256} {content.size_bytes}\n".encode()
                async for chunk in content.chunks:
                    yield chunk

        return StreamingResponse(bundle(), media_type=_BYTES)

    async def _read(self, sha256: str, start: int = 0) -> Content:
        try:
            return await self._contents.read(sha256, start)
        except HatchwayError as exc:
            raise HTTPException(exc.http_status, exc.message) from exc

    def _check(self, request: Request) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), self._expected.encode()):
            raise HTTPException(401, "this needs the token of the pods")
