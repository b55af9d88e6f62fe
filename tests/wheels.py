"""Wheels made on the spot, and an index that gives them to those who know the password."""

from __future__ import annotations

import base64
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> Path:
    """A wheel with one module, whose __version__ is the version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"__version__ = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@dataclass(frozen=True)
class Gate:
    """Holds up downloads until it is opened."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@contextmanager
def private_index(wheels: Path, user: str, password: str, gate: Gate | None = None) -> Iterator[str]:
    """Serves `wheels` under /simple/NAME/, through the gate; the yielded address is "127.0.0.1:PORT/simple"."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("authorization") != expected:
                self.send_response(401)
                self.send_header("www-authenticate", 'Basic realm="private"')
                self.send_header("content-length", "0")
                self.end_headers()
                return
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "files":
                if gate is not None:
                    gate.reached.set()
                    gate.opened.wait()
                self._send((wheels / name).read_bytes(), "application/octet-stream")
            else:
                found = sorted(wheels.glob(f"{name.strip('/').replace('-', '_')}-*.whl"))
                links = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in found)
                self._send(links.encode(), "text/html", 200 if found else 404)

        def _send(self, body: bytes, content_type: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-control", "max-age=0")  # else uv asks again only after ten minutes
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked was killed
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Not on the terminal of the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/simple"
        finally:
            if gate is not None:
                gate.opened.set()
            server.shutdown()
            thread.join()
