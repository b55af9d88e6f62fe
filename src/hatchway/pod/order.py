"""What a pod is told beside its replica's launch: the project's files, where they are, and the Python environment."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Of the Secret that a pod is told by.
LAUNCH_KEY, ORDER_KEY, FILES_KEY = "launch.json", "order.json", "files.json.z"

# How preparing ends; why stands in the termination log.
EXIT_FILES, EXIT_ENVIRONMENT = 1, 75  # the project could not be had in time; its environment cannot be made


@dataclass(frozen=True)
class File:
    """One file of the project. `path` is relative, with forward slashes."""

    path: str
    sha256: str
    size: int
    is_executable: bool


@dataclass(frozen=True)
class Packages:
    """What the replica's Python is to have: what `pip` or `pyproject` names, else what there was at deploy time.

    `frozen` is "name==version" each, of the environment that the project was deployed from; `local` names those of
    them that no index has. `lock` pins, one "name==version" a line, what `pip` or `pyproject` leave open.
    """

    python: str  # the version at deploy time, "3.11.7"
    pip: str | None = None
    pyproject: str | None = None
    lock: str | None = None
    frozen: Sequence[str] = ()
    local: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # for uv: indexes, with credentials


@dataclass(frozen=True)
class Order:
    """`url` and `token`: where files are, and what opens them."""

    url: str
    token: str = field(repr=False)
    files: Sequence[File]
    packages: Packages

    def to_texts(self) -> dict[str, bytes]:
        """By key. The list of files is packed: a Secret holds 1 MiB."""
        rows = [[each.path, each.sha256, each.size, each.is_executable] for each in self.files]
        told = {"url": self.url, "token": self.token, "packages": dataclasses.asdict(self.packages)}
        return {ORDER_KEY: json.dumps(told).encode(), FILES_KEY: zlib.compress(json.dumps(rows).encode(), 9)}

    @classmethod
    def from_texts(cls, texts: Mapping[str, bytes]) -> Order:
        """Raises ValueError, KeyError or TypeError. What a newer operator adds is ignored."""
        told: dict[str, Any] = json.loads(texts[ORDER_KEY])
        known = {each.name for each in dataclasses.fields(Packages)}
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in told["packages"].items()
            if key in known
        }
        rows = json.loads(zlib.decompress(texts[FILES_KEY]))
        return cls(told["url"], told["token"], tuple(File(*row) for row in rows), Packages(**fields))
