"""Ports that are in use."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def taken(port: int) -> Iterator[int]:
    """Somebody listens on the port, us or whoever had it before; which one it is where it is 0."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            yield port
        else:
            yield listener.getsockname()[1]
