"""The Python that runs a handler, as it is now: `handler.python`, else the active environment, else our own.

The interpreter itself is asked, in a short process, for its version and packages; its answer is kept until one of
its package folders changes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.errors import InvalidSpec
from hatchway.project.cache import Cache
from hatchway.project.pythons import Pythons, UvPythons, of_version
from hatchway.spec.revision import Interpreter

OLDEST = (3, 11)
ASK_TIMEOUT_S = 30.0
_COMMAND = re.compile(r"python(\d+\.\d+)")
_VERSION = re.compile(r"\d+(\.\d+)*")
NOT_PACKAGES = ("hatchway", "pip")  # they do not decide what a handler does

# Any Python from 2.7 on understands this, so that an old one can be told from a broken one.
_QUESTION = """
import json, os, platform, sys
answer = {"version": list(sys.version_info[:3]), "folders": {}, "packages": [], "local": []}
if sys.version_info >= (3, 8):
    from importlib import metadata
    answer["abi"] = sys.implementation.cache_tag + "-" + platform.machine()
    folders = [path for path in sys.path if path and os.path.isdir(path)]
    answer["folders"] = {path: os.stat(path).st_mtime_ns for path in folders}
    found = {}
    for one in metadata.distributions(path=folders):
        name = one.metadata["Name"]
        if name:
            name = name.lower().replace("_", "-").replace(".", "-")
            if name not in found and "file:" in (one.read_text("direct_url.json") or ""):
                answer["local"].append(name)
            found.setdefault(name, one.version)
    answer["packages"] = sorted("%s==%s" % item for item in found.items())
sys.stdout.write(json.dumps(answer))
"""


@dataclass(frozen=True)
class _Choice:
    executable: Path
    why: str  # for messages


def interpreter(
    handler_python: str | None,
    environ: Mapping[str, str],
    *,
    root: Path,
    with_packages: bool,
    cache: Cache,
    on_download: Callable[[str], None] = lambda version: None,
) -> Interpreter:
    """The interpreter for a handler; relative paths are of `root`.

    `with_packages` is false where `handler.dependencies` decides on the packages; `on_download` is told the version
    of a Python that has to be downloaded. Raises InvalidSpec for one that is not to be had, does not start or is too
    old.
    """
    choice = _choose(handler_python, environ, root, UvPythons(environ, on_download))
    answer = _ask(choice, environ, cache)
    version = tuple(int(part) for part in answer["version"])
    if version < OLDEST:
        raise InvalidSpec(
            f"{choice.why} is Python {_dotted(version)}; handlers need {_dotted(OLDEST)} or newer",
            hint="activate an environment with a newer Python, or name one in handler.python",
        )
    packages = [package for package in answer["packages"] if package.partition("==")[0] not in NOT_PACKAGES]
    return Interpreter(
        executable=str(choice.executable),
        version=_dotted(version),
        abi=answer["abi"],
        packages=tuple(packages) if with_packages else (),
        local=tuple(sorted(set(answer["local"]).difference(NOT_PACKAGES))) if with_packages else (),
    )


def _choose(handler_python: str | None, environ: Mapping[str, str], root: Path, pythons: Pythons) -> _Choice:
    if handler_python is not None:
        return _Choice(_named(handler_python, environ, root, pythons), f"handler.python: {handler_python}")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        executable = Path(environ.get(variable) or "/nowhere") / "bin" / "python"
        if executable.is_file():
            return _Choice(executable.absolute(), f"the active environment ({executable})")
    # Not resolved: what a virtual environment's link leads to is not in the environment.
    return _Choice(Path(sys.executable).absolute(), f"the command's own Python ({sys.executable})")


def _named(python: str, environ: Mapping[str, str], root: Path, pythons: Pythons) -> Path:
    if _VERSION.fullmatch(python):
        return of_version(python, pythons)
    path = root / Path(python).expanduser()
    if "/" not in python and not path.exists():
        path = Path(shutil.which(python, path=environ.get("PATH")) or path)
        command = _COMMAND.fullmatch(python)
        # A shim of pyenv is there for every version, and works for those that are active only.
        if command and (not path.exists() or path.parent.name == "shims"):
            return of_version(command[1], pythons)
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file():
        raise InvalidSpec(
            f"handler.python: there is no {python}",
            hint='name a version ("3.12"), an interpreter, or the folder of a virtual environment',
        )
    return Path(os.path.abspath(path))


def _ask(choice: _Choice, environ: Mapping[str, str], cache: Cache) -> dict[str, Any]:
    executable = choice.executable
    try:
        marks = executable.stat()
    except OSError as exc:
        raise InvalidSpec(f"{choice.why} cannot be started: {exc.strerror}") from exc
    paths = environ.get("PYTHONPATH", "")
    key = f"interpreter {executable} {marks.st_ino}:{marks.st_mtime_ns}:{marks.st_ctime_ns} {paths}"
    known = cache.get(key)
    if known is not None and _is_current(answer := json.loads(known)):
        return dict(answer)
    answer = _run(choice, environ)
    cache.put(key, json.dumps(answer))
    return answer


def _is_current(answer: dict[str, Any]) -> bool:
    try:
        return all(os.stat(folder).st_mtime_ns == mtime_ns for folder, mtime_ns in answer["folders"].items())
    except OSError:
        return False


def _run(choice: _Choice, environ: Mapping[str, str]) -> dict[str, Any]:
    hint = "try it by hand, or name another one in handler.python"
    # In `/`, since the current folder is first on sys.path; __PYVENV_LAUNCHER__ and the like are left as they are.
    command = [str(choice.executable), "-c", _QUESTION]
    try:
        done = subprocess.run(
            command, cwd="/", env=dict(environ), capture_output=True, timeout=ASK_TIMEOUT_S, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except OSError as exc:
        raise InvalidSpec(f"{choice.why} cannot be started: {exc.strerror}", hint=hint) from exc
    except subprocess.TimeoutExpired as exc:
        raise InvalidSpec(f"{choice.why} did not answer within {ASK_TIMEOUT_S:.0f} s", hint=hint) from exc
    try:
        # A sitecustomize may print, so only the last line counts.
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError) as exc:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InvalidSpec(
            f"{choice.why} is not a Python that works: {said[-1] if said else 'it says nothing'}", hint=hint
        ) from exc


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
