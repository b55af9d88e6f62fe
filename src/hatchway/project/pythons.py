"""A Python by its version: one that is on this machine, else one that uv downloads."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from hatchway.errors import InvalidSpec


class Pythons(Protocol):
    """Where Pythons come from. A version is "3.12" or "3.12.1"."""

    def find(self, version: str) -> Path | None:
        """One that is here."""
        ...

    def download(self, version: str) -> str | None:
        """Have it here from now on; why that cannot be, or None."""
        ...


def of_version(version: str, pythons: Pythons) -> Path:
    """Raises InvalidSpec when it is neither here nor to be had."""
    found = pythons.find(version)
    if found is not None:
        return found
    obstacle = pythons.download(version)
    found = pythons.find(version) if obstacle is None else None
    if found is None:
        raise InvalidSpec(
            f"handler.python: there is no Python {version} on this machine, and it cannot be downloaded: "
            f"{obstacle or 'uv has installed another one'}",
            hint=f"install it, for example with `uv python install {version}`, or name the path of an interpreter",
        )
    return found


class UvPythons:
    """What uv finds and installs, and the versions of pyenv, whose shims uv cannot use unless they are active.

    `on_download` is told the version before a download begins.
    """

    def __init__(self, environ: Mapping[str, str], on_download: Callable[[str], None]) -> None:
        self._environ = dict(environ)
        self._on_download = on_download

    def find(self, version: str) -> Path | None:
        done = self._uv("find", "--no-project", "--offline", version)
        if done.returncode == 0:
            return Path(done.stdout.strip())
        return self._find_pyenv(version)

    def download(self, version: str) -> str | None:
        self._on_download(version)
        done = self._uv("install", "--no-bin", version)
        return None if done.returncode == 0 else _last_line(done.stderr)

    def _find_pyenv(self, version: str) -> Path | None:
        home = self._environ.get("HOME", "/nowhere")
        root = Path(self._environ.get("PYENV_ROOT") or Path(home) / ".pyenv")
        fitting = [path for path in (root / "versions").glob("*") if _fits(path.name, version)]
        fitting = [path for path in fitting if (path / "bin" / "python").is_file()]
        newest = max(fitting, key=lambda path: _numbers(path.name), default=None)
        return None if newest is None else newest / "bin" / "python"

    def _uv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        from uv import find_uv_bin

        return subprocess.run(
            [find_uv_bin(), "python", *arguments],
            cwd="/",
            env={**self._environ, "NO_COLOR": "1", "UV_NO_PROGRESS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _fits(name: str, version: str) -> bool:
    return re.fullmatch(r"[\d.]+", name) is not None and f"{name}.".startswith(f"{version}.")


def _numbers(name: str) -> list[int]:
    return [int(number) for number in name.split(".") if number]


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return re.sub(r"^(?:error|cause):\s*", "", lines[-1]) if lines else "uv does not say why"
