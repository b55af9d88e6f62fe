"""What is saved in a project, as it happens. Grouped: an editor or a checkout writes many files at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path, PurePosixPath

from watchfiles import Change, awatch

from hatchway.project import choose_project_files

GROUP_MS = 400  # at most this long
QUIET_MS = 50  # a group ends when nothing was saved for so long

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
