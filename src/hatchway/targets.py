"""Where a command acts: on this machine, or on a cluster that `hatchway env add` has named.

The file of the home that lists them holds tokens: only its user may read it. It is replaced in one step.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from hatchway.errors import Conflict, NotFound, StorageError, UsageError
from hatchway.files import replace_text

LOCAL = "local"
VARIABLE = "HATCHWAY_ENV"
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Local:
    """The engine of a home of this machine."""

    name: str = LOCAL

    @property
    def place(self) -> str:
        return "this machine"


@dataclass(frozen=True)
class Cluster:
    """An operator that is reached through its cluster's API server.

    The context is named, so that another current one of the kubeconfig never changes where commands act.
    `kubeconfig` None: ~/.kube/config.
    """

    name: str
    context: str
    namespace: str
    kubeconfig: str | None = None

    @property
    def place(self) -> str:
        return f"cluster {self.context}, namespace {self.namespace}"


@dataclass(frozen=True)
class Address:
    """An operator that is reached at a URL, with a token."""

    name: str
    url: str
    token: str = field(repr=False)

    @property
    def place(self) -> str:
        return self.url


Target = Local | Cluster | Address


@dataclass(frozen=True)
class Targets:
    """All of a home. `current` is the name of the one that commands act on when they name none."""

    known: Mapping[str, Target] = field(default_factory=dict)
    current: str = LOCAL

    BUILT_IN: ClassVar = Local()

    def all(self) -> list[Target]:
        """The built-in one first, the others by name."""
        return [self.BUILT_IN, *(self.known[name] for name in sorted(self.known))]

    def get(self, name: str) -> Target:
        """Raises NotFound."""
        if name == LOCAL:
            return self.BUILT_IN
        if name not in self.known:
            names = ", ".join(target.name for target in self.all())
            raise NotFound(f"there is no target named {name}", hint=f"there are: {names}; hatchway env add makes one")
        return self.known[name]

    def chosen(self, name: str | None, environ: Mapping[str, str]) -> Target:
        """The one that `name` says, else the variable, else the current one. Raises NotFound."""
        return self.get(name or environ.get(VARIABLE) or self.current)

    def with_target(self, target: Cluster | Address) -> Targets:
        """Raises UsageError for a name that cannot be one, Conflict for one that is taken."""
        check_name(target.name)
        if target.name in self.known:
            raise Conflict(
                f"there is a target named {target.name} already: {self.known[target.name].place}",
                hint=f"remove it first: hatchway env remove {target.name}",
            )
        return replace(self, known={**self.known, target.name: target})

    def without(self, name: str) -> Targets:
        """Commands act on this machine again when it was the current one. Raises NotFound, UsageError."""
        if name == LOCAL:
            raise UsageError("local is this machine, and always there")
        self.get(name)
        others = {known: target for known, target in self.known.items() if known != name}
        return Targets(others, LOCAL if self.current == name else self.current)

    def using(self, name: str) -> Targets:
        """Raises NotFound."""
        return replace(self, current=self.get(name).name)


def check_name(name: str) -> None:
    """Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a target", hint="use lower-case letters, digits, - and .")
    if name == LOCAL:
        raise UsageError("local is this machine, and always there", hint="choose another name")


def check_url(url: str) -> str:
    """The address of an operator, without a slash at its end. Raises UsageError."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError(f"{url} is not the address of an operator", hint="write it like https://hatchway.example.com")
    return url.rstrip("/")


# --- the file --------------------------------------------------------------------------------------------------
def read(path: Path) -> Targets:
    """Raises StorageError for a file that cannot be read, or was damaged."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Targets()
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        found = json.loads(text)
        known = {name: _target(name, written) for name, written in found["targets"].items()}
        targets = Targets(known)
        return targets.using(found["current"])
    except (ValueError, KeyError, TypeError, AttributeError, NotFound) as exc:
        raise StorageError(f"{path} is damaged: {exc}", hint="remove it, and add the targets again") from exc


@contextmanager
def changing(path: Path) -> Iterator[Draft]:
    """What is put into the draft is written at the end of the block; nobody else writes meanwhile.

    Raises StorageError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}") from exc
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        draft = Draft(read(path))
        yield draft
        try:
            replace_text(path, _to_json(draft.targets))
        except OSError as exc:
            raise StorageError(f"cannot write {path}: {exc.strerror}") from exc
    finally:
        os.close(folder)


@dataclass
class Draft:
    targets: Targets


def _target(name: str, written: Mapping[str, Any]) -> Target:
    kind = Address if "url" in written else Cluster
    return kind(name=name, **written)


def _to_json(targets: Targets) -> str:
    def written(target: Target) -> dict[str, Any]:
        values = {each.name: getattr(target, each.name) for each in fields(target) if each.name != "name"}
        return {name: value for name, value in values.items() if value is not None}

    document = {"current": targets.current, "targets": {each.name: written(each) for each in targets.known.values()}}
    return json.dumps(document, indent=2) + "\n"
