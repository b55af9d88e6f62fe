"""The replica's own few packages, apart from the user's: one folder per Python version and ABI, on nobody's path.

For the engine's own Python they are copied from where the engine has them, without a network. Compiled ones for
another Python are installed by `uv` in the engine's versions; the pure ones, for ASGI applications and forms, are
always copied. A folder is filled under another name and renamed, so one that is there is complete.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from hatchway.backends.local import builds
from hatchway.backends.local.interpreters import Python
from hatchway.installing.distributions import (
    ASGI_PACKAGES,
    SERVER_PACKAGES,
    copy_distributions,
    is_installed,
    own_abi,
)

Install = Callable[[Python, Sequence[str], Path], Awaitable[None]]


class ServerPackages:
    """The folders `launch.server_packages` and `launch.asgi_packages` name."""

    def __init__(self, environments_dir: Path) -> None:
        self.folder = environments_dir / "server"

    async def server(self, python: Python, install: Install) -> Path:
        """`install` is used for another Python than the engine's; what it raises passes through."""
        requirements = [f"{name}=={version(name)}" for name in SERVER_PACKAGES]
        folder = self.folder / f"server-{python.abi}-{_digest(requirements)}"
        if not folder.is_dir():
            unfinished = self._unfinished(folder)
            if python.abi == own_abi():
                copy_distributions(SERVER_PACKAGES, unfinished)
            else:
                await install(python, requirements, unfinished)
            _finish(unfinished, folder)
        return folder

    def asgi(self) -> Path:
        found = [name for name in ASGI_PACKAGES if is_installed(name)]
        folder = self.folder / f"asgi-{_digest([f'{name}=={version(name)}' for name in found])}"
        if not folder.is_dir():
            unfinished = self._unfinished(folder)
            copy_distributions(found, unfinished)
            _finish(unfinished, folder)
        return folder

    def prune(self, used: frozenset[str]) -> list[Path]:
        """The folders that no launch file names and nobody keeps, with their locks."""
        folders = [path for path in self.folder.glob("[!.]*") if str(path) not in used and not builds.is_in_use(path)]
        return [*folders, *builds.free_locks(self.folder, folders)]

    def _unfinished(self, folder: Path) -> Path:
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        return unfinished


def _finish(unfinished: Path, folder: Path) -> None:
    if folder.is_dir():  # another slot was quicker
        shutil.rmtree(unfinished, ignore_errors=True)
    else:
        unfinished.rename(folder)


def _digest(requirements: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
