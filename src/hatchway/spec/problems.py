"""What is wrong with a document, in plain sentences: pydantic's findings become problems with a field path.

`check` is the one place that turns a filled-in document into a `RealtimeApi` or a list of problems. It reports
everything at once: rules between fields are checked on what is left when the broken fields are set aside.
"""

from __future__ import annotations

import copy
import difflib
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hatchway.spec.api import RealtimeApi
from hatchway.spec.variables import Path

MAX_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is in the document, and what is wrong and what would be right."""

    path: Path
    message: str
    at_key: bool = False  # about the key itself, so that it shows the key's line

    @property
    def field(self) -> str:
        """`handler.env.MODEL`, `networking.cors.allow_origins[1]`; empty for the API as a whole."""
        text = ""
        for part in self.path:
            text += f"[{part + 1}]" if isinstance(part, int) else f".{_short_key(part)}"
        return text.removeprefix(".")


def _short_key(key: str) -> str:
    """A key on one line, whatever is in it."""
    return key if key.isprintable() and 0 < len(key) <= MAX_SHOWN_CHARS else show(key)


def show(value: object) -> str:
    """A value as a message shows it: short, and as it looks in YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."


def check(document: Any, shown: Callable[[Path], str | None]) -> tuple[RealtimeApi | None, list[Problem]]:
    """The API that a filled-in document describes, or what is wrong with it.

    `shown(path)` gives the text to show instead of a value (its `${VAR}`), or None to show the value.
    """
    spec, problems = _validate(document, shown)
    if spec is not None:
        return spec, []
    single = [problem for problem, involved in problems if not involved]
    rest = copy.deepcopy(document)
    for problem in single:
        _remove(rest, problem.path)
    broken_paths = {problem.path for problem in single}
    _, later = _validate(_with_placeholders(rest), shown)
    contradictions = [
        problem for problem, involved in later if involved and not any(_touches(p, broken_paths) for p in involved)
    ]
    return None, single + contradictions


def _validate(
    document: Any, shown: Callable[[Path], str | None]
) -> tuple[RealtimeApi | None, list[tuple[Problem, list[Path]]]]:
    """The API, or every problem with the paths of the fields that contradict each other (none for single ones)."""
    try:
        return RealtimeApi.model_validate(document), []
    except ValidationError as exc:
        found = exc.errors(include_url=False)
    problems: list[tuple[Problem, list[Path]]] = []
    for error in found:
        if error["type"] == "contradiction":
            problems.extend(_contradictions(error))
        else:
            problems.append((_problem(error, shown), []))
    return None, problems


def _contradictions(error: ErrorDetails) -> Iterator[tuple[Problem, list[Path]]]:
    section = tuple(error["loc"])
    for field, involved, message in error["ctx"]["rules"]:
        at = (*section, *field.split(".")) if field else section
        yield Problem(at, message), [(*section, *name.split(".")) for name in involved]


def _touches(path: Path, broken: Iterable[Path]) -> bool:
    return any(path[: len(other)] == other or other[: len(path)] == path for other in broken)


def _remove(document: Any, path: Path) -> None:
    """Take the value at `path` out of the document, or what holds it when that is a list."""
    holder = document
    for part in path[:-1]:
        following = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(following, dict):
            path = (*path[: path.index(part)], part)
            break
        holder = following
    if isinstance(holder, dict) and path:
        holder.pop(path[-1], None)


def _with_placeholders(document: Any) -> Any:
    """A document whose missing name or handler does not keep rules between sections from being checked."""
    if not isinstance(document, dict):
        return document
    return {"name": "a", "handler": {"path": "a.py"}, **document}


# --- sentences -----------------------------------------------------------------------------------------------
_REQUIRED = {
    ("name",): "is missing; every API has one, such as name: iris",
    ("handler",): "is missing; write handler: {path: handler.py} or handler: {model: model.joblib}",
}


def _problem(error: ErrorDetails, shown: Callable[[Path], str | None]) -> Problem:
    path = tuple(error["loc"])
    at_key = path[-1:] == ("[key]",)
    if at_key:
        path = path[:-1]
    kind = error["type"]
    if kind == "extra_forbidden":
        return Problem(path, unknown_key(path), at_key=True)
    if kind == "missing":
        return Problem(path, _REQUIRED.get(typing.cast(Any, path), "is missing"))
    instead = None if at_key else shown(path)
    got = instead if instead is not None else show(error["input"])
    note = ""
    if kind == "rule":
        wanted, note = error["ctx"]["says"], error["ctx"]["note"]
        if error["ctx"]["is_secret"] and instead is None:
            got = "something else, which is not shown"
    elif kind in ("tuple_type", "list_type"):
        wanted, note = "a list", _as_list(error["input"])
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        wanted, note = "a map of fields", "remove the line to keep the defaults" if error["input"] is None else ""
    elif kind == "literal_error":
        wanted = error["ctx"]["expected"].replace("'", "")
    else:
        wanted = error["msg"].removeprefix("Input should be ")
    return Problem(path, f"must be {wanted}, got {got}" + (f"; {note}" if note else ""), at_key=at_key)


def _as_list(value: object) -> str:
    return f"write [{value}]" if isinstance(value, str) and value.isalnum() else "write it in brackets, or as - items"


# --- unknown keys --------------------------------------------------------------------------------------------
def unknown_key(path: Path) -> str:
    """What to write instead of an unknown key: a near one of its section, or the section it belongs to."""
    key, section = str(path[-1]), tuple(part for part in path[:-1] if isinstance(part, str))
    known = sorted(fields_of(section))
    owners = [owner for owner, names in _sections().items() if key in names and owner != section]
    if owners:
        return f"is not a field of {_title(section)}; it belongs to {_title(owners[0])}"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or difflib.get_close_matches(
        key.lower(), known, n=1, cutoff=0.6
    )
    if near:
        return f"is not a known field; did you mean {near[0]}?"
    for owner, names in _sections().items():
        if close := difflib.get_close_matches(key, sorted(names), n=1, cutoff=0.8):
            return f"is not a known field; did you mean {close[0]} of {_title(owner)}?"
    return f"is not a known field; {_title(section)} has {', '.join(known)}"


def _title(section: Path) -> str:
    return ".".join(str(part) for part in section) or "the API itself"


def fields_of(section: Path) -> frozenset[str]:
    """The keys that a section knows, as written in YAML; empty when there is no such section."""
    return _sections().get(section, frozenset())


@functools.cache
def _sections() -> dict[Path, frozenset[str]]:
    return {
        path: frozenset(field.alias or name for name, field in model.model_fields.items())
        for path, model in walk_sections(RealtimeApi)
    }


def walk_sections(model: type[BaseModel], path: Path = ()) -> Iterator[tuple[Path, type[BaseModel]]]:
    """Every section of the YAML with its model, the API itself first; a list of sections as one."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            yield from walk_sections(inner, (*path, field.alias or name))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    is_several = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is tuple
    options = typing.get_args(annotation) if is_several else (annotation,)
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
