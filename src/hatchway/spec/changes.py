"""What differs between what is deployed and what is to be deployed, one readable line per difference. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hatchway.spec.api import RealtimeApi
from hatchway.spec.masking import masked
from hatchway.spec.revision import INERT_FIELDS, RUNNING_SECTIONS, Source

SHOWN_PACKAGES = 6
SHOWN_CHARS = 60


@dataclass(frozen=True)
class Version:
    """One deployed or deployable state of an API.

    `variables` are those that handler and compute refer to (`revision.running_variables`), with their values.
    """

    spec: RealtimeApi
    document: dict[str, Any]
    source: Source
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Changes:
    """`replacing` needs new replicas; `in_place` takes effect on the running ones."""

    replacing: tuple[str, ...]
    in_place: tuple[str, ...]


def describe_changes(old: Version, new: Version) -> Changes:
    """One readable line per difference. Values of variables are never told, only their names."""
    replacing = [*_files(old.source, new.source), *_python(old.source, new.source), *_trust(old.source, new.source)]
    in_place: list[str] = []
    written = dict(_fields(masked(old.spec, old.document), masked(new.spec, new.document)))
    for path, line in written.items():
        (replacing if _is_running(path) else in_place).append(line)
    in_place += [
        f"{'.'.join(path)} changed with its variables"
        for path, _ in _fields(_plain(old.spec), _plain(new.spec))
        if path not in written and not _is_running(path)
    ]
    names = sorted(
        name
        for name in old.variables.keys() | new.variables.keys()
        if old.variables.get(name) != new.variables.get(name)
    )
    if names:
        replacing.append(f"environment changed: {', '.join(names)}")
    return Changes(tuple(replacing), tuple(in_place))


def _is_running(path: tuple[str, ...]) -> bool:
    """Whether a field decides what runs; the rest changes in place."""
    return path[0] in RUNNING_SECTIONS and path[1:2] != () and path[1] not in INERT_FIELDS


def _plain(spec: RealtimeApi) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)


def _files(old: Source, new: Source) -> Iterator[str]:
    before = {file.path: (file.sha256, bool(file.mode & 0o111)) for file in old.files}
    after = {file.path: (file.sha256, bool(file.mode & 0o111)) for file in new.files}
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield f"{path} added"
        elif path not in after:
            yield f"{path} removed"
        elif before[path] != after[path]:
            yield f"{path} changed"


def _python(old: Source, new: Source) -> Iterator[str]:
    before, after = old.interpreter, new.interpreter
    if before.version != after.version:
        yield f"python {before.version} -> {after.version}"
    elif before.abi != after.abi:
        yield f"python {before.abi} -> {after.abi}"
    if before.packages != after.packages:
        yield f"packages changed: {_packages(before.packages, after.packages)}"


def _trust(old: Source, new: Source) -> Iterator[str]:
    if set(new.trusted_models) - set(old.trusted_models):
        yield "a model is trusted to run code while it loads"


def _packages(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    before = {package.partition("==")[0]: package.partition("==")[2] for package in old}
    after = {package.partition("==")[0]: package.partition("==")[2] for package in new}
    changes = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            changes.append(f"+{name} {after[name]}")
        elif name not in after:
            changes.append(f"-{name}")
        elif before[name] != after[name]:
            changes.append(f"{name} {before[name]} -> {after[name]}")
    more = len(changes) - SHOWN_PACKAGES
    return ", ".join(changes[:SHOWN_PACKAGES]) + (f" and {more} more" if more > 0 else "")


def _fields(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """(field path, line) for every leaf that differs."""
    for key in sorted(old.keys() | new.keys()):
        path, before, after = (*prefix, key), old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _fields(before, after, path)
        elif before != after:
            yield path, f"{'.'.join(path)} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    text = "not set" if value is None else " ".join(str(value).split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."
