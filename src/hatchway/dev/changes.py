"""What is saved in a project, as it happens. Grouped: an editor or a checkout writes many files at once."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from watchfiles import Change, awatch

from hatchway.project import choose_project_files

GROUP_MS = 400  # at most this long
QUIET_MS = 50  # a group ends when nothing was saved for so long
LOOK_MS = 1000

# Hidden, and yet they decide what runs.
SPECIAL = frozenset({".env", ".hatchwayignore", ".cortexignore"})
CODE = frozenset({".py", ".yaml", ".yml", ".toml", ".txt", ".lock", ".env"})


async def saves(folder: Path) -> AsyncIterator[frozenset[str]]:
    """Paths of project files that were written, made or removed, relative to `folder`; never an empty group.

    What an editor makes and removes again within a group is not told.
    """
    async for events in awatch(folder, watch_filter=None, debounce=GROUP_MS, step=QUIET_MS):
        paths = _lasting(folder, events)
        changed = choose_project_files(folder, paths) | (paths & SPECIAL)
        if changed:
            yield changed


async def saves_of_model(model: Path) -> AsyncIterator[frozenset[str]]:
    """The model's own name whenever its file, or anything in its folder, was written.

    The folder around a file may be one of downloads, or a whole home: nothing below it is watched. A folder that is
    removed and made anew takes its watch with it: so it is also looked at every `LOOK_MS`.
    """
    told = seen = _look(model)
    while True:
        is_folder = seen.is_folder
        watched = model if is_folder else model.parent
        events = awatch(
            watched,
            watch_filter=None,
            debounce=GROUP_MS,
            step=QUIET_MS,
            recursive=is_folder,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
        )
        async with aclosing(events):
            async for _ in events:
                seen = _look(model)
                if seen.files and seen != told:
                    told = seen
                    yield frozenset({model.name})
                if seen.is_folder != is_folder:
                    break


class _Look(NamedTuple):
    is_folder: bool
    files: list[tuple[str, int, int]]  # path, size, time of last change


def _look(model: Path) -> _Look:
    is_folder = model.is_dir()
    places = sorted(model.rglob("*")) if is_folder else [model]
    looks = [(str(path), _stat(path)) for path in places]
    regular = [(path, seen) for path, seen in looks if seen is not None and stat.S_ISREG(seen.st_mode)]
    return _Look(is_folder, [(path, seen.st_size, seen.st_mtime_ns) for path, seen in regular])


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # removed meanwhile


def deliberate(changed: Collection[str], *, is_loading: bool) -> frozenset[str]:
    """Of what changed, what a person saved: a handler that writes a file of its own while it loads must not make the
    project load again, for ever."""
    return frozenset(path for path in changed if not is_loading or _suffix(path) in CODE)


def _lasting(folder: Path, events: Collection[tuple[Change, str]]) -> set[str]:
    passing = {path for change, path in events if change is Change.added and not Path(path).exists()}
    return {Path(path).relative_to(folder).as_posix() for _, path in events if path not in passing}


def _suffix(path: str) -> str:
    name = PurePosixPath(path).name
    return name if name in SPECIAL else PurePosixPath(path).suffix
