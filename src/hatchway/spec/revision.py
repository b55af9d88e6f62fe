"""A revision: what runs, frozen and named by its content. Spec + project tree + Python -> revision id."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hatchway.spec.api import RealtimeApi


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ProjectFile(Frozen):
    """One file of a project, as content. `path` is relative, normalised, with forward slashes."""

    path: str
    mode: int  # permission bits; only the executable bit matters to the id
    size: int
    sha256: str


class Interpreter(Frozen):
    """The Python a handler runs on, as found at deploy time.

    `packages` is the sorted list "name==version" of its environment; with `handler.dependencies` it is empty
    and the requirements decide.
    """

    executable: str
    version: str  # "3.11.7"
    abi: str  # sys.implementation.cache_tag + platform, "cpython-311-x86_64"
    packages: tuple[str, ...] = ()


class Source(Frozen):
    """The project as the client sends it: contents by hash, nothing of the machine but the Python's path."""

    files: tuple[ProjectFile, ...]
    interpreter: Interpreter
    git_commit: str | None = None


def revision_id(spec: RealtimeApi, document: dict[str, object], source: Source, environment_digest: str) -> str:
    """Twelve hexadecimal digits over everything that changes what runs, and nothing else.

    In: the tree (path, executable bit, sha256), handler and compute as written (`${VAR}` stays a reference),
    the interpreter's version and ABI, its packages, and the digest of the variables' values. Out: machine paths,
    autoscaling, networking, update_strategy, monitoring, the engine's version.
    """
    raise NotImplementedError
