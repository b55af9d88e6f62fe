"""Serves the control API on the engine's unix socket, in the engine's loop, until cancelled; beside it, the TCP port.

One server for both sockets: each server wakes the machine ten times a second.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from hatchway.control_api.connections import BoundedHttp
from hatchway.errors import StorageError
from hatchway.serving import configure, serve_until_cancelled

BACKLOG = 128


@dataclass(frozen=True)
class Beside:
    """A second socket, that listens already, and what answers there."""

    listener: socket.socket
    app: ASGIApp


async def serve(app: ASGIApp, path: Path, beside: Beside | None = None) -> None:
    """Answer on a socket that only this user can open (0600), from before the first wait until cancelled.

    A socket file that is there already is replaced: the engine's lock says that nobody answers on it any more.
    Raises StorageError when the socket cannot be made.
    """
    with _listening(path) as listener:
        config = configure(_by_socket(app, path, beside) if beside else app, http=BoundedHttp)
        await serve_until_cancelled(config, "control API", [listener, beside.listener] if beside else [listener])


def _by_socket(app: ASGIApp, path: Path, beside: Beside) -> ASGIApp:
    """Only what came in by the unix socket is this user's without a doubt."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = app if scope.get("server") == (str(path), None) else beside.app
        await chosen(scope, receive, send)

    return dispatch


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)  # before listen: until then nobody can connect
        listener.listen(BACKLOG)
        listener.setblocking(False)
        ours = path.stat().st_ino
    except OSError as exc:
        listener.close()
        raise StorageError(
            f"cannot listen on {path}: {exc.strerror or exc}", hint="set XDG_RUNTIME_DIR to a folder of yours"
        ) from exc
    try:
        yield listener
    finally:
        listener.close()
        # The next engine may have put its own socket in this place already.
        if path.exists() and os.stat(path).st_ino == ours:
            path.unlink()
