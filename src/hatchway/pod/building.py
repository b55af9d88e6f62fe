"""Python environments in a cache that pods share: built by `uv`, named by their content, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from hatchway.errors import EnvironmentFailed
from hatchway.installing import installs
from hatchway.installing.distributions import (
    ASGI_PACKAGES,
    SERVER_PACKAGES,
    copy_distributions,
    is_installed,
    own_abi,
)
from hatchway.installing.indexes import uv_environment
from hatchway.installing.installs import Install
from hatchway.installing.uv_words import explain
from hatchway.pod.decide import Build
from hatchway.pod.locks import locked
from hatchway.pod.order import Packages
from hatchway.pod.runtime import Runtime

PATIENCE_S = 3600.0  # for somebody else who builds the same
_PINS = "pins.txt"
_QUESTION = (
    "import json, platform, sys; print(json.dumps([sys.executable, '%d.%d.%d' % sys.version_info[:3],"
    " sys.implementation.cache_tag + sys.abiflags + '-' + platform.machine()]))"
)


@dataclass(frozen=True)
class Base:
    """A Python that environments are made of."""

    executable: str
    version: str
    abi: str


@dataclass(frozen=True)
class Site:
    """Where it is built. `tree` names the project's content; `say` tells people."""

    cache: Path
    run: Path
    project: Path
    tree: str
    environ: Mapping[str, str] = field(repr=False)
    say: Callable[[str], None] = print


def build(decided: Build, packages: Packages, site: Site) -> Runtime:
    """Find or build it. Raises EnvironmentFailed in uv's words."""
    uv = _Uv(site, packages.variables)
    base = uv.own() if decided.python is None else uv.find(decided.python)
    install = _install(decided, packages, site)
    named = hashlib.sha256(f"{base.executable}\n{base.version}\n{base.abi}\n{install.content}".encode()).hexdigest()
    folder = site.cache / "envs" / f"py{base.version.replace('.', '')}-{named[:16]}"
    with _made_once(folder) as draft:
        if draft is not None:
            site.say(f"building the Python {base.version} environment {folder.name}")
            # Relocatable: its scripts find their Python wherever the folder is moved to.
            uv.run(["venv", "-q", "--relocatable", "--no-project", "--python", base.executable, str(draft)], site.run)
            arguments, variables = install.filled(draft)
            uv.run(arguments, install.cwd, variables)
    return Runtime(
        str(folder / "bin" / "python"),
        server_packages=str(_server_packages(base, uv, site)),
        asgi_packages=str(_asgi_packages(site)),
        variables={
            "VIRTUAL_ENV": str(folder),
            "PATH": f"{folder / 'bin'}{os.pathsep}{site.environ.get('PATH', os.defpath)}",
        },
    )


def _install(decided: Build, packages: Packages, site: Site) -> Install:
    """What is asked for, by which file."""
    pins = site.run / _PINS
    pins.write_text(decided.frozen or decided.lock or "", encoding="utf-8")
    if decided.frozen is not None:
        return installs.from_pins(site.project, pins)
    if packages.pip is not None:
        return installs.within(pins, installs.from_requirements(site.project, packages.pip, site.tree))
    assert packages.pyproject is not None
    lock = installs.find_lock(site.project, packages.pyproject)
    if lock is not None:
        return installs.from_lock(site.project, packages.pyproject, lock, site.tree)
    return installs.within(pins, installs.from_declaration(site.project, packages.pyproject, site.tree))


def _server_packages(base: Base, uv: _Uv, site: Site) -> Path:
    """The replica's own compiled packages: the image's where they fit, else the same versions for the other Python."""
    wanted = [f"{name}=={version(name)}" for name in SERVER_PACKAGES]
    folder = site.cache / "server" / f"server-{base.abi}-{_digest(wanted)}"
    with _made_once(folder) as draft:
        if draft is not None and base.abi == own_abi():
            copy_distributions(SERVER_PACKAGES, draft)
        elif draft is not None:
            uv.run(["pip", "install", "--python", base.executable, "--target", str(draft), *wanted], site.run)
    return folder


def _asgi_packages(site: Site) -> Path:
    found = [name for name in ASGI_PACKAGES if is_installed(name)]
    folder = site.cache / "server" / f"asgi-{_digest([f'{name}=={version(name)}' for name in found])}"
    with _made_once(folder) as draft:
        if draft is not None:
            copy_distributions(found, draft)
    return folder


@contextmanager
def _made_once(folder: Path) -> Iterator[Path | None]:
    """Where to make it; None: it is there. It gets its name when it is whole. What is not is left to nobody."""
    if folder.is_dir():
        yield None
        return
    with locked(str(folder.with_name(f".{folder.name}.lock")), time.monotonic() + PATIENCE_S):
        if folder.is_dir():
            yield None
            return
        for left in folder.parent.glob(f"{folder.name}.*.draft"):  # by somebody who was killed
            shutil.rmtree(left, ignore_errors=True)
        draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.draft")
        draft.mkdir()
        try:
            yield draft
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


class _Uv:
    """Calls of uv, with all that it keeps in the cache."""

    def __init__(self, site: Site, variables: Mapping[str, str]) -> None:
        self._site = site
        self._environ = {
            **uv_environment(site.environ, variables),
            "UV_CACHE_DIR": str(site.cache / "uv"),
            "UV_PYTHON_INSTALL_DIR": str(site.cache / "pythons"),
            "UV_COMPILE_BYTECODE": "1",  # once here, and not at each start of a replica
        }

    def own(self) -> Base:
        return Base(sys.executable, ".".join(map(str, sys.version_info[:3])), own_abi())

    def find(self, python: str) -> Base:
        """A Python of this version: of the image, of the cache, else downloaded. Raises EnvironmentFailed."""
        self._site.say(f"the image has no Python {python}: looking for one")
        with locked(str(self._site.cache / ".pythons.lock"), time.monotonic() + PATIENCE_S):
            try:
                found = self.run(["python", "find", "--no-project", python], self._site.run)
            except EnvironmentFailed:
                self.run(["python", "install", python], self._site.run)
                found = self.run(["python", "find", "--no-project", python], self._site.run)
        answer = subprocess.run(
            [found.strip().splitlines()[-1], "-c", _QUESTION], capture_output=True, check=True, timeout=60
        )
        return Base(*json.loads(answer.stdout))

    def run(self, arguments: Sequence[str], cwd: Path, variables: Mapping[str, str] | None = None) -> str:
        """What it prints. Raises EnvironmentFailed in its words."""
        done = subprocess.run(
            [_uv_binary(), *arguments],
            cwd=cwd,
            env={**self._environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise EnvironmentFailed(explain(output) or f"uv ended with exit code {done.returncode}")
        if output.strip():
            self._site.say(output.strip())
        return output


def _uv_binary() -> str:
    """Raises EnvironmentFailed."""
    try:
        import uv
    except ImportError:
        raise EnvironmentFailed("the image of the replicas has no uv, which installs packages") from None
    return str(uv.find_uv_bin())


def _digest(requirements: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
