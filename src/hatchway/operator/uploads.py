"""Projects' files on their way to the operator: contents by their hash, only those that are missing, over HTTP.

    POST /blobs/missing   {"sha256": [...]} -> {"missing": [...]}
    PUT /blobs/SHA256     the content

Only with the operator's token.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hatchway.errors import HatchwayError
from hatchway.store.blobs import BlobStore


class Uploads:
    def __init__(self, blobs: BlobStore, token: str) -> None:
        self._blobs = blobs
        self._token = token

    def routes(self) -> list[Route]:
        return [
            Route("/blobs/missing", self._missing, methods=["POST"]),
            Route("/blobs/{sha256}", self._add, methods=["PUT"]),
        ]

    async def _missing(self, request: Request) -> Response:
        self._check(request)
        try:
            hashes = [str(each) for each in (await request.json())["sha256"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise HTTPException(400, 'the body must be {"sha256": [...]}') from exc
        return JSONResponse({"missing": await asyncio.to_thread(self._blobs.missing, hashes)})

    async def _add(self, request: Request) -> Response:
        self._check(request)
        try:
            await self._blobs.add_async_stream(request.path_params["sha256"], request.stream())
        except HatchwayError as exc:
            return JSONResponse({"error": exc.to_dict()}, exc.http_status)
        return Response(status_code=204)

    def _check(self, request: Request) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {self._token}".encode()):
            raise HTTPException(401, "this needs the operator's token")
