"""`${VAR}` in the YAML: what is a reference, what it stands for, and the `.env` file that gives values.

`${VAR}` is the variable's value, `${VAR:-text}` its value or, when it is unset or empty, the text; `$${` is a
literal `${`. A text that is exactly one reference takes the type its place asks for (`values.Filled`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hatchway.errors import InvalidSpec
from hatchway.spec.values import Filled

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{[^}]*\}?)"
)


def has_reference(text: object) -> bool:
    """Whether `text` is text with at least one `${VAR}` in it."""
    return isinstance(text, str) and any(match["name"] for match in _TOKEN.finditer(text))


def names_in(value: object) -> frozenset[str]:
    """The variables that a part of a document refers to, at any depth."""
    return frozenset(match["name"] for _, text in leaves(value) for match in _TOKEN.finditer(text) if match["name"])


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in a document with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))


def fill(value: Any, variables: Mapping[str, str], report: Callable[[Path, str], None], path: Path = ()) -> Any:
    """`value` with every reference replaced; what cannot be replaced is reported with its path."""
    if isinstance(value, str):
        return _fill_text(value, variables, lambda message: report(path, message))
    if isinstance(value, dict):
        return {key: fill(item, variables, report, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, variables, report, (*path, index)) for index, item in enumerate(value)]
    return value


def _fill_text(text: str, variables: Mapping[str, str], report: Callable[[str], None]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match["escape"]:
            return "${"
        if match["broken"]:
            report(
                f"{match['broken'][:40]!r} is not a reference; write ${{NAME}} or ${{NAME:-default}}, or $${{ for text"
            )
            return ""
        value = variables.get(match["name"])
        if match["default"] is not None:
            return value or str(match["default"])
        if value is None:
            report(f"the variable {match['name']} is not set; set it in the environment or in .env beside this file")
            return ""
        return value

    filled = _TOKEN.sub(replace, text)
    alone = _TOKEN.fullmatch(text)
    return Filled(filled) if alone and alone["name"] else filled


# --- .env ----------------------------------------------------------------------------------------------------
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def parse_dotenv(text: str) -> dict[str, str]:
    """The variables of a `.env` file: `KEY=value`, `export KEY=value`, quotes, comments.

    Single quotes keep everything; double quotes know the escapes of JSON strings; without quotes, ` #` starts a
    comment. Raises InvalidSpec with one problem for each line that cannot be read.
    """
    found: dict[str, str] = {}
    problems = []
    lines = text.removeprefix("\ufeff").splitlines()
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        value = _dotenv_value(match[2]) if match else None
        if match is None or value is None:
            problems.append(f".env:{number}: cannot be read; write KEY=value, with both quotes if there are any")
        else:
            found[match[1]] = value
    if problems:
        raise InvalidSpec(f".env has {len(problems)} lines that cannot be read", problems=tuple(problems))
    return found


def _dotenv_value(written: str) -> str | None:
    """The value after the equals sign; None when its quotes do not match."""
    if written[:1] == "'":
        match = re.fullmatch(r"'([^']*)'\s*(#.*)?", written)
        return match[1] if match else None
    if written[:1] == '"':
        match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"\s*(#.*)?', written)
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), match[1]) if match else None
    return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()
