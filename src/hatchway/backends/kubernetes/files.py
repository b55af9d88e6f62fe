"""Projects' files for pods that start: a manifest of each revision, and contents by their hash, over HTTP.

    GET /API/REVISION/manifest       {"files": [{"path", "sha256", "executable"}, ...]}
    GET /API/REVISION/files/SHA256   the content

Only with the operator's token, and only files of the revision that is asked about.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

Json = dict[str, Any]


class ProjectFiles:
    """The projects that pods may ask for. A revision's files never change."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._folders: dict[tuple[str, str], Path] = {}
        self._manifests: dict[tuple[str, str], list[Json]] = {}

    def offer(self, api: str, revision: str, folder: Path) -> None:
        self._folders[api, revision] = folder

    def withdraw(self, api: str) -> None:
        """All revisions of an API."""
        for key in [key for key in self._folders if key[0] == api]:
            del self._folders[key]
            self._manifests.pop(key, None)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/{api}/{revision}/manifest", self._send_manifest),
                Route("/{api}/{revision}/files/{sha256}", self._send_file),
            ]
        )

    async def _send_manifest(self, request: Request) -> Response:
        files = await self._manifest(request)
        return JSONResponse({"files": files})

    async def _send_file(self, request: Request) -> Response:
        files = await self._manifest(request)
        found = next((each for each in files if each["sha256"] == request.path_params["sha256"]), None)
        if found is None:
            raise HTTPException(404, "no such file")
        return FileResponse(self._folders[self._key(request)] / found["path"])

    async def _manifest(self, request: Request) -> list[Json]:
        if not hmac.compare_digest(request.headers.get("authorization", ""), f"Bearer {self._token}"):
            raise HTTPException(401, "this needs the operator's token")
        key = self._key(request)
        if key not in self._folders:
            raise HTTPException(404, "no such revision")
        if key not in self._manifests:
            self._manifests[key] = await asyncio.to_thread(_read, self._folders[key])
        return self._manifests[key]

    def _key(self, request: Request) -> tuple[str, str]:
        return request.path_params["api"], request.path_params["revision"]


def _read(folder: Path) -> list[Json]:
    return [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": _digest(path),
            "executable": bool(path.stat().st_mode & 0o111),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
