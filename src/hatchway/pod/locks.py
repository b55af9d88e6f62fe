"""One at a time, among all pods that share a cache: a file that is locked for as long as its holder lives.

The lock goes with the process, however that ends, also on another node where the file system is shared.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

_LOOK_S = 0.1  # a lock that is given back makes no event


class Held(OSError):
    """Somebody else has held the lock for too long."""


@contextlib.contextmanager
def locked(path: str, deadline: float) -> Iterator[int]:
    """The descriptor of the file, which is made if need be. Raises Held at the deadline (monotonic, in seconds)."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                raise Held(f"somebody else has been at {path} for too long")
            time.sleep(_LOOK_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
