"""The replica's own few packages, in folders beside the user's environment, never in it.

One folder per Python ABI holds httptools, uvloop and orjson; another, which fits every Python, holds what serves an
ASGI application when the user's environment does not bring it. Both are named by the versions they hold.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import uv

from hatchway.errors import EnvironmentFailed
from hatchway.spec.revision import Interpreter

COMPILED = ("httptools", "uvloop", "orjson")
ASGI = ("uvicorn", "starlette", "python-multipart", "h11", "click", "anyio", "idna", "typing_extensions")
INSTALL_TIMEOUT_S = 300


class ServerPackages:
    """Makes each folder once. Blocking; raises EnvironmentFailed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def compiled_for(self, interpreter: Interpreter) -> Path:
        """The folder with the compiled packages for this interpreter."""
        name = f"server-{interpreter.abi}-{_versions_hash(COMPILED)}"
        if interpreter.abi.startswith(f"{sys.implementation.cache_tag}-"):
            return self._make(name, lambda target: _copy(COMPILED, target))
        return self._make(name, lambda target: _install(COMPILED, interpreter.executable, target))

    def asgi(self) -> Path:
        """The folder with pure-Python packages for ASGI applications and forms."""
        return self._make(f"asgi-{_versions_hash(ASGI)}", lambda target: _copy(ASGI, target))

    def _make(self, name: str, fill: Callable[[Path], None]) -> Path:
        place = self._folder / name
        if place.is_dir():
            return place
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=self._folder) as temporary:
            target = Path(temporary) / "packages"
            target.mkdir()
            fill(target)
            try:
                target.rename(place)
            except OSError:  # somebody else was faster
                if not place.is_dir():
                    raise
        return place


def _versions_hash(packages: Sequence[str]) -> str:
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    return hashlib.sha256(" ".join(versions).encode()).hexdigest()[:12]


def _copy(packages: Sequence[str], target: Path) -> None:
    """Copy installed packages, metadata included."""
    for name in packages:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or not source.is_file() or source.suffix == ".pyc":
                continue
            place = target / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


def _install(packages: Sequence[str], python: str, target: Path) -> None:
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    command = [uv.find_uv_bin(), "pip", "install", "--python", python, "--target", str(target), *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EnvironmentFailed(f"cannot install {', '.join(packages)} for {python}: {exc}") from exc
    if done.returncode != 0:
        raise EnvironmentFailed(f"cannot install {', '.join(packages)} for {python}: {done.stderr.strip()[-2000:]}")
