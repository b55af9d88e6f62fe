"""A YAML file -> its APIs, or everything that is wrong with it at once.

The way of a file: text -> data with lines (`yaml_text`) -> one map per API -> Cortex spellings answered
(`cortex`) -> `${VAR}` filled in (`variables`) -> checked (`problems`, `api`). The engine goes the last two steps
again with `parse_document`, so that a client is never trusted.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hatchway.errors import InvalidSpec
from hatchway.spec import cortex
from hatchway.spec.api import RealtimeApi
from hatchway.spec.masking import masked
from hatchway.spec.problems import Problem, check, show
from hatchway.spec.variables import Path, fill, has_reference, names_in, parse_dotenv
from hatchway.spec.yaml_text import MAX_DEPTH, YamlData, YamlError, read_yaml

__all__ = ["LoadedApi", "check_files", "load_documents", "masked", "parse_document", "parse_dotenv"]

_HINT = "every field and rule is in docs/yaml.md"


@dataclass(frozen=True)
class LoadedApi:
    """One API of a YAML file."""

    spec: RealtimeApi  # with variables filled in
    document: dict[str, Any]  # as written: defaults not added, `${VAR}` kept
    variables: dict[str, str] = field(repr=False)  # those it refers to and that are set, with their values
    location: str  # "hatchway.yaml:12"
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False)  # path in the document -> line

    def place(self, path: Path) -> str:
        """`hatchway.yaml:14` of a field, or of the nearest part of the file that holds it."""
        return f"{self.location.rpartition(':')[0]}:{_line_of(self.lines, path)}"


def load_documents(text: str, *, file: str, variables: Mapping[str, str]) -> tuple[LoadedApi, ...]:
    """The APIs of a YAML file: one map, or a list of maps.

    Raises InvalidSpec with all problems of the file, one line each:
    `file:line: API name: field.path: what is wrong; what would be right`.
    """
    try:
        data = read_yaml(text.removeprefix("\ufeff"))
    except YamlError as exc:
        raise _invalid(file, [f"{file}:{exc.line}: {exc.message}"]) from exc
    reader = _FileReader(file, data, variables)
    entries = reader.entries()
    loaded = [reader.read(entry, path) for path, entry in entries]
    reader.refuse_duplicates(entries, loaded)
    if reader.problems:
        raise _invalid(file, [line for _, line in sorted(reader.problems, key=lambda found: found[0])])
    return tuple(api for api in loaded if api is not None)


def parse_document(document: dict[str, Any], variables: Mapping[str, str]) -> RealtimeApi:
    """The API that a document describes, by the same rules. Raises InvalidSpec with all problems, without lines."""
    spec, problems = examine(document, variables)
    if spec is None:
        name = _name(document)
        raise _invalid(f"API {name}" if name else "the API", [_line(name, problem) for problem in problems])
    return spec


def examine(document: dict[str, Any], variables: Mapping[str, str]) -> tuple[RealtimeApi | None, list[Problem]]:
    """The API of a document as written, or everything that is wrong with it."""
    if _is_too_deep(document):
        return None, [Problem((), f"is nested too deeply: more than {MAX_DEPTH} levels")]
    kind_problem = cortex.refuse_kind(document)
    if kind_problem is not None:
        return None, [kind_problem]
    advice = cortex.advise(document)
    problems = list(advice.problems)

    def report(path: Path, message: str) -> None:
        problems.append(Problem(advice.written(path), message))

    filled = fill(advice.document, variables, report)
    unset = {problem.path for problem in problems}
    spec, found = check(filled, lambda path: _reference_at(advice.document, path))
    for problem in found:
        at = advice.written(problem.path)
        if at not in unset and not advice.answers(problem):
            problems.append(Problem(at, problem.message, problem.at_key))
    return (None if problems else spec), problems


def _is_too_deep(document: Any) -> bool:
    """Whether reading the document could exhaust the stack. (Files are bounded already; other clients are not.)"""
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _reference_at(document: Any, path: Path) -> str | None:
    """The text at `path` when it has a `${VAR}` in it: what it stands for may be a secret."""
    value = document
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value if has_reference(value) else None


def check_files(api: LoadedApi, files: Collection[str]) -> None:
    """Refuse an API that names files the project has not. `files` are relative paths with forward slashes."""
    handler, problems = api.spec.handler, []
    wanted: list[tuple[Path, str | None]] = [
        (("handler", "path"), handler.path),
        (("handler", "dependencies", "pip"), handler.dependencies.pip),
        (("handler", "dependencies", "pyproject"), handler.dependencies.pyproject),
        (("monitoring", "baseline"), api.spec.monitoring.baseline),
    ]
    for path, name in wanted:
        if name is not None and name not in files:
            problems.append(Problem(path, f"there is no file {show(name)} in the project{_nearest(name, files)}"))
    model = handler.model
    if model is not None and not any(name == model or name.startswith(f"{model}/") for name in files):
        message = f"there is no file or folder {show(model)} in the project{_nearest(model, files)}"
        problems.append(Problem(("handler", "model"), message))
    folder = handler.python_path
    if folder not in (None, ".") and not any(name.startswith(f"{folder}/") for name in files):
        problems.append(Problem(("handler", "python_path"), f"there is no folder {show(folder)} in the project"))
    if problems:
        lines = [f"{api.place(problem.path)}: {_line(api.spec.name, problem)}" for problem in problems]
        raise _invalid(api.location.rpartition(":")[0], lines)


def _nearest(name: str, files: Collection[str]) -> str:
    same = [file for file in files if posixpath.basename(file) == posixpath.basename(name)]
    near = same or difflib.get_close_matches(name, list(files), n=1)
    return f"; did you mean {near[0]}?" if near else "; is it left out by .hatchwayignore or .gitignore?"


class _FileReader:
    """Reads the entries of one file and gathers their problems as (line, text)."""

    def __init__(self, file: str, data: YamlData, variables: Mapping[str, str]) -> None:
        self._file = file
        self._data = data
        self._variables = variables
        self.problems: list[tuple[int, str]] = []
        start = 1 if isinstance(data.value, list) else 0  # paths in a list begin with the number of the API
        self._lines: dict[Path, dict[Path, int]] = {}
        for path, line in data.lines.items():
            self._lines.setdefault(path[:start], {})[path[start:]] = line
        for path, line, message in data.mistakes:
            name = _name(_at(data.value, path[:1]) if isinstance(data.value, list) else data.value)
            self._say(line, _line(name, Problem(path[1:] if isinstance(data.value, list) else path, message)))

    def entries(self) -> list[tuple[Path, Any]]:
        """The APIs of the file with their paths."""
        value = self._data.value
        if isinstance(value, dict) and value:
            return [((), value)]
        if isinstance(value, list) and value:
            return [((index,), entry) for index, entry in enumerate(value)]
        if not self.problems:
            empty = value is None or value in ({}, [])
            what = "the file is empty; it needs a name and a handler" if empty else f"must be a map, got {show(value)}"
            self._say(self._data.lines.get((), 1), what)
        return []

    def read(self, entry: Any, path: Path) -> LoadedApi | None:
        """One entry of the file; None when something is wrong with it."""
        line = self._data.lines[path]
        if not isinstance(entry, dict):
            self._say(line, f"an API is a map of fields (name, handler, ...), got {show(entry)}")
            return None
        lines = self._lines.get(path, {})
        spec, problems = examine(entry, self._variables)
        for problem in problems:
            if not self._known(path, problem):
                self._say(_line_of(lines, problem.path), _line(_name(entry), problem))
        if spec is None:
            return None
        wanted = sorted(names_in(entry) | spec.handler.secrets.keys())
        used = {name: self._variables[name] for name in wanted if name in self._variables}
        return LoadedApi(spec, entry, used, f"{self._file}:{line}", lines)

    def refuse_duplicates(self, entries: list[tuple[Path, Any]], loaded: list[LoadedApi | None]) -> None:
        """Names and endpoints are unique in a file, whether the rest of an API is right or not."""
        names: dict[str, tuple[Path, int]] = {}
        endpoints: dict[str, str] = {}
        for (path, entry), api in zip(entries, loaded, strict=True):
            name = api.spec.name if api else _name(entry)
            line = self._data.lines.get((*path, "name"), self._data.lines[path])
            if name and names.setdefault(name, (path, line))[0] != path:
                self._say(line, f"API {name}: name: is taken by the API in line {names[name][1]}; give each its own")
            elif api and endpoints.setdefault(api.spec.endpoint, name) != name:
                message = (
                    f"{api.spec.endpoint} is the endpoint of {endpoints[api.spec.endpoint]} too; give each its own"
                )
                problem = Problem(("networking", "endpoint"), message)
                self._say(_line_of(api.lines, problem.path), _line(name, problem))

    def _known(self, path: Path, problem: Problem) -> bool:
        """Whether the YAML itself was wrong here already: one mistake, one line."""
        at = (*path, *problem.path)
        return any(at[: len(mistake)] == mistake and len(mistake) > len(path) for mistake, _, _ in self._data.mistakes)

    def _say(self, line: int, text: str) -> None:
        self.problems.append((line, f"{self._file}:{line}: {text}"))


def _at(value: Any, path: Path) -> Any:
    return value[path[0]] if path and isinstance(value, list) and isinstance(path[0], int) else None


def _line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest part that was written."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _name(document: Any) -> str:
    """The name as written, for messages; empty when there is none."""
    name = document.get("name") if isinstance(document, dict) else None
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 60 else ""


def _line(name: str, problem: Problem) -> str:
    who = f"API {name}" if name else "API"
    return ": ".join(part for part in (who, problem.field, problem.message) if part)


def _invalid(where: str, lines: list[str]) -> InvalidSpec:
    count = f"{len(lines)} mistakes" if len(lines) != 1 else "1 mistake"
    return InvalidSpec(f"{where} has {count}", hint=_HINT, problems=tuple(lines))
