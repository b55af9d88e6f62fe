"""The dashboard's files as answers. They are read when the engine starts: an upgrade may replace them later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import HTMLResponse, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_EVER = "public, max-age=31536000, immutable"  # the address changes with the content


@dataclass(frozen=True)
class Pages:
    """`base` is the folder of the scripts in addresses: it names their content, so that browsers keep them."""

    base: str
    files: Mapping[str, tuple[bytes, str]]  # address -> content and its type
    shell: str
    signing_in: str
    entering: str

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Pages:
        contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        digest = hashlib.sha256(b"\0".join(name.encode() + content for name, content in contents.items()))
        base = f"/static/{digest.hexdigest()[:12]}"
        files = {
            f"{base}/{name}": (content, TYPES[Path(name).suffix])
            for name, content in contents.items()
            if Path(name).suffix in TYPES
        }

        def html(name: str) -> str:
            return contents[name].decode().replace("STATIC", base)

        return cls(base, files, html("index.html"), html("signin.html"), html("entering.html"))

    def page(self) -> Response:
        return HTMLResponse(self.shell)

    def sign_in(self) -> Response:
        return HTMLResponse(self.signing_in, 401)

    def file(self, path: str) -> Response:
        found = self.files.get(path)
        if found is None:
            return Response("not found", 404, media_type="text/plain")
        content, kind = found
        return Response(content, media_type=kind, headers={"cache-control": FOR_EVER})
