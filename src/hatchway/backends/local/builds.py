"""Who builds an environment, among all processes of a home: an engine, its successor, `hatchway dev`.

A file that is locked while an environment is built, and for as long as somebody who has no revision runs on it. The
lock goes with its process, however that ends, so what is unfinished and not locked is nobody's. Names of environments
have no dots.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

_UNFINISHED = ".unfinished"
_LOCK = ".lock"
_LOOK_S = 0.1  # a lock that is given back makes no event


@contextlib.asynccontextmanager
async def building(environment: Path, on_wait: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """Be the only one who builds it; `on_wait` is called when somebody else does."""
    descriptor = _open(environment)
    try:
        if not _try(descriptor, fcntl.LOCK_EX):
            on_wait()
            while not _try(descriptor, fcntl.LOCK_EX):  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def kept(environment: Path) -> Iterator[None]:
    """Nobody removes it meanwhile."""
    descriptor = _open(environment)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # a builder has finished before we know of the environment
        yield
    finally:
        os.close(descriptor)


def is_in_use(environment: Path) -> bool:
    """Whether somebody builds or keeps it."""
    path = _lock_path(environment)
    if not path.exists():
        return False
    descriptor = _open(environment)
    try:
        return not _try(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def draft_of(environment: Path) -> Path:
    """Where to build it: a name of its own each time, since what a killed builder has started may go on writing."""
    return environment.with_name(f"{environment.name}.{secrets.token_hex(4)}{_UNFINISHED}")


def is_draft(path: Path) -> bool:
    return path.name.endswith(_UNFINISHED)


def abandoned(folder: Path) -> list[Path]:
    """What was begun below `folder` by somebody who is gone."""
    drafts = folder.glob(f"*{_UNFINISHED}")
    return [path for path in drafts if not is_in_use(path.with_name(path.name.partition(".")[0]))]


def free_locks(folder: Path, going: Collection[Path]) -> list[Path]:
    """Lock files of environments that are gone, or about to go."""
    found = ((path, path.with_name(path.name[1 : -len(_LOCK)])) for path in folder.glob(f".*{_LOCK}"))
    return [path for path, of in found if (of in going or not of.exists()) and not is_in_use(of)]


def _open(environment: Path) -> int:
    environment.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(_lock_path(environment), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock_path(environment: Path) -> Path:
    return environment.with_name(f".{environment.name}{_LOCK}")


def _try(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
