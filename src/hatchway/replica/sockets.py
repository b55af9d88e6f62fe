"""Where a replica listens: unix sockets that appear only when somebody listens on them, or in a pod TCP ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

BACKLOG = 2048


def listen(address: str) -> socket.socket:
    """A listening socket at a path, in place of a stale one, or at HOST:PORT.

    At a path it listens before its name appears: whoever finds the name can connect.
    """
    if not is_path(address):
        return _listen_tcp(address)
    # As long as the final path, since socket paths are limited to about 107 bytes.
    hidden = address[:-1] + ("~" if not address.endswith("~") else "_")
    remove(hidden)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(hidden)
    os.chmod(hidden, 0o600)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    os.replace(hidden, address)
    return sock


async def serve(connect: Callable[[], asyncio.BaseProtocol], address: str) -> asyncio.AbstractServer:
    """Serve connections at a path or at HOST:PORT."""
    loop, sock = asyncio.get_running_loop(), listen(address)
    # uvloop calls listen() a second time, which changes nothing but the backlog.
    if is_path(address):
        return await loop.create_unix_server(connect, sock=sock, backlog=BACKLOG)
    return await loop.create_server(connect, sock=sock, backlog=BACKLOG)


def remove(address: str) -> None:
    """No connection reaches a path any more. A port is open until its server is closed."""
    if is_path(address):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)


def is_path(address: str) -> bool:
    return "/" in address


def _listen_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of the container that was here before us
    sock.bind((host, int(port)))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock
