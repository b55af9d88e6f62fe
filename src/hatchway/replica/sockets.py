"""Unix sockets that appear only when somebody listens on them, and go when their process does."""

from __future__ import annotations

import contextlib
import os
import socket

BACKLOG = 2048


def listen(path: str) -> socket.socket:
    """A listening socket at `path`, in place of a stale one.

    It listens before its name appears: whoever finds the name can connect.
    """
    # As long as the final path, since socket paths are limited to about 107 bytes.
    hidden = path[:-1] + ("~" if not path.endswith("~") else "_")
    remove(hidden)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(hidden)
    os.chmod(hidden, 0o600)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    os.replace(hidden, path)
    return sock


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
