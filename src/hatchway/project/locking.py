"""What `handler.dependencies` leaves open, pinned, so that pods on many machines and at many times install the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import uv

from hatchway.errors import EnvironmentFailed
from hatchway.installing import installs, requirements
from hatchway.installing.indexes import index_variables, uv_environment
from hatchway.installing.uv_words import explain
from hatchway.project.cache import Cache
from hatchway.spec.api import Dependencies
from hatchway.spec.revision import Interpreter

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==")  # files of the project, which travel with it, need no pin


def lock_dependencies(
    root: Path, dependencies: Dependencies, python: Interpreter, environ: Mapping[str, str], cache: Cache
) -> str | None:
    """One "name==version" a line, for all platforms; None where nothing is open.

    The same question has the same answer for as long as the cache lasts, as with environments of one machine. Raises
    EnvironmentFailed in uv's words when it cannot be met.
    """
    file = dependencies.file
    if file is None or (dependencies.pyproject is not None and installs.find_lock(root, file) is not None):
        return None
    asked = requirements.digest(root, file) if dependencies.pip else installs.declaration(root, file)
    version = ".".join(python.version.split(".")[:2])
    key = f"lock {version} {asked}"
    known = cache.get(key)
    if known is None:
        known = _compile(root, file, version, environ, dependencies.field)
        cache.put(key, known)
    return known


def _compile(root: Path, file: str, version: str, environ: Mapping[str, str], field: str) -> str:
    how = ["--quiet", "--universal", "--no-header", "--no-annotate", "--python-version", version]
    text = (root / file).read_text(encoding="utf-8-sig")
    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", *how, file],
        cwd=root,
        env=uv_environment(environ, index_variables(environ, text)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = explain(done.stderr.decode(errors="replace")) or f"uv ended with exit code {done.returncode}"
        raise EnvironmentFailed(said, hint=f"correct {field} and deploy again")
    lines = done.stdout.decode().splitlines()
    return "".join(f"{line}\n" for line in lines if _PIN.match(line))
