"""What is known of a Python interpreter: asked once by running it, remembered until its file changes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hatchway.errors import EnvironmentFailed

OLDEST = (3, 11)
_PROBE_TIMEOUT_S = 30.0

# Runs on any Python since 2.7.
_PROBE = (
    "import sys, json, platform, site, sysconfig;"
    "i = getattr(sys, 'implementation', None);"
    "p = sysconfig.get_paths();"
    "print(json.dumps({'version': list(sys.version_info[:3]), 'prefix': sys.prefix,"
    " 'base_prefix': getattr(sys, 'base_prefix', sys.prefix),"
    " 'library_folders': sorted(set([p['purelib'], p['platlib']] + getattr(site, 'getsitepackages', list)())),"
    " 'abi': (getattr(i, 'cache_tag', None) or 'python') + getattr(sys, 'abiflags', '') + '-' + platform.machine()}))"
)


@dataclass(frozen=True)
class Python:
    """One interpreter. `abi` as in spec.revision.Interpreter: "cpython-311-x86_64"."""

    executable: str
    version: tuple[int, int, int]
    abi: str
    prefix: str
    base_prefix: str
    library_folders: tuple[str, ...] = ()  # where its packages are installed

    @property
    def is_virtual(self) -> bool:
        return self.prefix != self.base_prefix

    @property
    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version)


class Interpreters:
    """Answers what an executable is, running it only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], Python] = {}

    async def probe(self, executable: str) -> Python:
        """Raises EnvironmentFailed when there is no such Python, or it is older than 3.11."""
        try:
            found = os.stat(executable)
        except OSError as exc:
            raise EnvironmentFailed(
                f"the Python {executable} is not there any more: {exc.strerror}",
                hint="deploy again from an environment that exists, or set handler.python",
            ) from exc
        # An environment that was made anew has the same link to the same base, but another configuration.
        configuration = Path(executable).parent.parent / "pyvenv.cfg"
        made_at = configuration.stat().st_mtime_ns if configuration.exists() else 0
        key = (executable, found.st_mtime_ns, made_at)
        if key not in self._known:
            self._known[key] = await _run_probe(executable)
        python = self._known[key]
        if python.version < OLDEST:
            raise EnvironmentFailed(
                f"{executable} is Python {python.version_text}; handlers need 3.11 or newer",
                hint="deploy from a newer environment, or set handler.python to 3.11 or newer",
            )
        return python


async def _run_probe(executable: str) -> Python:
    # In a thread and not by the loop, which forks: fork handlers of libraries with threads (gRPC) may end the child.
    return await asyncio.to_thread(_ask, executable)


def _ask(executable: str) -> Python:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [executable, "-c", _PROBE],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        )
        output = done.stdout
        answer = json.loads(output)
        major, minor, patch = answer["version"]
        return Python(
            executable,
            (major, minor, patch),
            answer["abi"],
            answer["prefix"],
            answer["base_prefix"],
            tuple(answer.get("library_folders", ())),
        )
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as exc:
        raise EnvironmentFailed(
            f"{executable} does not run as a Python interpreter: {exc!r}",
            hint="set handler.python to a version such as 3.12, or to the path of an interpreter",
        ) from exc
