"""The life of the activator's process: listen, serve until told to leave, finish, leave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from hatchway.gateway.activator.activator import Activator
from hatchway.gateway.activator.replicas import Replicas
from hatchway.gateway.activator.reports import Reports

BACKLOG = 4096

log = logging.getLogger("activator")


def run(data_socket: Path, reports_socket: Path, sockets: Path, folders: Path) -> None:
    """`sockets` and `folders` are where replicas have theirs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    _raise_file_limit()
    asyncio.run(live(data_socket, reports_socket, sockets, folders))


async def live(data_socket: Path, reports_socket: Path, sockets: Path, folders: Path) -> None:
    """Serve until told to leave by a signal, and until nothing is left to do."""
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    reports = Reports()
    activator = Activator(Replicas(sockets, folders), reports.tell)

    def leave_at_once() -> None:
        activator.refuse_all()
        leaving.set()

    loop.add_signal_handler(signal.SIGUSR1, leaving.set)
    loop.add_signal_handler(signal.SIGTERM, leave_at_once)
    # The data socket last: it says that all is ready.
    tells = await loop.create_unix_server(reports.connect, sock=listen(reports_socket))
    takes = await loop.create_unix_server(activator.connect, sock=listen(data_socket), backlog=BACKLOG)
    log.info("activator %d listens on %s", os.getpid(), data_socket)
    gc.collect()
    gc.freeze()
    await leaving.wait()
    takes.close()
    await activator.wait_empty()
    tells.close()
    log.info("activator %d leaves", os.getpid())


def listen(path: Path) -> socket.socket:
    """A socket that listens before its name appears, in place of one that may be there: there is no gap between."""
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(unnamed))
    unnamed.chmod(0o600)
    sock.listen(BACKLOG)
    unnamed.replace(path)
    return sock


def _raise_file_limit() -> None:
    """Each held request is an open file, and the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
