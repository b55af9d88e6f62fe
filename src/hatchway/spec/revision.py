"""A revision: what runs, frozen and named by its content. Spec + project tree + Python -> revision id."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from hatchway.spec.api import Compute, HandlerSpec, RealtimeApi
from hatchway.spec.masking import masked
from hatchway.spec.variables import names_in


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
    and the requirements decide. `local` names those of them that are installed from a folder or file of the machine,
    editable or not: their versions are in the list, but what is in them may change without a new revision.
    """

    executable: str
    version: str  # "3.11.7"
    abi: str  # sys.implementation.cache_tag + platform, "cpython-311-x86_64"
    packages: tuple[str, ...] = ()
    local: tuple[str, ...] = ()


class Source(Frozen):
    """The project as the client sends it: contents by hash, nothing of the machine but the Python's path."""

    files: tuple[ProjectFile, ...]
    interpreter: Interpreter
    git_commit: str | None = None
    lock: str | None = None  # "name==version" lines that pin what handler.dependencies leaves open; for clusters
    trusted_models: tuple[str, ...] = ()  # sha256s of models that may run code while they load, since the user said so
    variables_secret: str | None = None  # in a cluster: an immutable Secret with the values of `${VAR}` references


def revision_id(spec: RealtimeApi, document: dict[str, Any], source: Source, environment_digest: str) -> str:
    """Twelve hexadecimal digits over everything that changes what runs, and nothing else.

    In: the tree (path, executable bit, sha256), handler and compute as written (`${VAR}` stays a reference; a default
    written out counts as left out), the interpreter's version and ABI, its packages, the lock if there is one, the
    digest of the variables, and which models are trusted (nothing when none has to be).
    Out: machine paths, handler.example, autoscaling, networking, update_strategy, monitoring, the engine's version.
    """
    content = {
        "files": sorted([file.path, bool(file.mode & 0o111), file.sha256] for file in source.files),
        "runs": running_part(spec, document),
        "python": [source.interpreter.version, source.interpreter.abi],
        "packages": sorted(source.interpreter.packages),
        "environment": environment_digest,
    }
    if source.lock is not None:
        content["lock"] = source.lock
    if source.trusted_models:
        content["trusted"] = sorted(source.trusted_models)
    return hashlib.sha256(_canonical(content)).hexdigest()[:12]


RUNNING_SECTIONS = ("handler", "compute")
INERT_FIELDS = ("example",)  # of handler: only shown; a replica shows the one it was started with


def running_part(spec: RealtimeApi, document: dict[str, Any]) -> dict[str, Any]:
    """The sections that decide what runs, masked: a change here needs new replicas.

    Fields at their default are left out, so that a release that adds a field makes no new revisions.
    """
    shown = masked(spec, document)
    defaults = {"handler": HandlerSpec.model_construct(), "compute": Compute()}
    return {
        section: _beyond(
            {field: value for field, value in shown[section].items() if field not in INERT_FIELDS},
            default.model_dump(mode="json", by_alias=True),
        )
        for section, default in defaults.items()
    }


def _beyond(value: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """What of `value` differs from `default`, at any depth."""
    found = {}
    for key, item in value.items():
        usual = default.get(key)
        if key not in default or item != usual:
            found[key] = _beyond(item, usual) if isinstance(item, dict) and isinstance(usual, dict) else item
    return found


def running_variables(document: dict[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """Of `variables`, those that handler and compute refer to: only they belong in `environment_digest`."""
    names = names_in({key: document.get(key) for key in RUNNING_SECTIONS})
    names |= document.get("handler", {}).get("secrets", {}).keys()
    return {name: value for name, value in variables.items() if name in names}


def environment_digest(variables: Mapping[str, str], key: bytes) -> str:
    """A digest of the variables' values that nobody without `key` can test guesses against."""
    return hmac.new(key, _canonical(sorted(variables.items())), hashlib.sha256).hexdigest()[:32]


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
