"""The plain part of YAML in which MLflow writes MLmodel: nested maps, lists of scalars, quoted texts.

A model's own Python may have no YAML parser, and one for this much is short.
"""

from __future__ import annotations

import json
import re
from typing import Any

_MAX_LINES = 100_000
_MAX_DEPTH = 50
_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"\[{>|&*!%@-][^:#]*?)\s*:(?:\s+(.*))?$""")


class NotPlain(Exception):
    """Something that MLflow does not write."""


def parse(text: str) -> Any:
    """Scalars are None, bool, int, float or str. Raises NotPlain."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > _MAX_LINES:
        raise NotPlain("it is too long")
    reader = _Reader(lines)
    value = reader.block(0, 0)
    if reader.at < len(lines):
        raise NotPlain(f"line {lines[reader.at].strip()[:60]!r} does not fit")
    return value


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.at = 0

    def block(self, indent: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise NotPlain("it is nested too deeply")
        if self.at >= len(self._lines):
            return None
        line = self._lines[self.at]
        if _indent(line) < indent:
            return None
        return self._list(_indent(line)) if line.lstrip().startswith("- ") else self._map(_indent(line), depth)

    def _map(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.at < len(self._lines) and _indent(self._lines[self.at]) == indent:
            entry = _KEY.match(self._lines[self.at].strip())
            if entry is None:
                raise NotPlain(f"line {self._lines[self.at].strip()[:60]!r} is no entry")
            self.at += 1
            rest = (entry.group(2) or "").strip()
            key = str(_scalar(entry.group(1)))
            if rest:
                found[key] = self._value(rest, indent)
            elif self._next_is_list_at(indent):
                found[key] = self._list(indent)
            else:
                found[key] = self.block(indent + 1, depth + 1)
        return found

    def _next_is_list_at(self, indent: int) -> bool:
        return self.at < len(self._lines) and self._lines[self.at].startswith(" " * indent + "- ")

    def _list(self, indent: int) -> list[Any]:
        found = []
        while self._next_is_list_at(indent):
            text = self._lines[self.at].strip()[2:].strip()
            self.at += 1
            found.append(self._value(text, indent))
        return found

    def _value(self, text: str, indent: int) -> Any:
        """A scalar, which may go on over lines that are indented further."""
        if text[0] in "|>&*!":
            raise NotPlain(f"{text[:60]!r} is not read here")
        parts = [text]
        while self.at < len(self._lines) and not _is_whole(parts) and _indent(self._lines[self.at]) > indent:
            parts.append(self._lines[self.at].strip())
            self.at += 1
        return _scalar(" ".join(parts))


def _is_whole(parts: list[str]) -> bool:
    quote = parts[0][0]
    if quote not in "'\"":
        return False  # plain text goes on as long as lines are indented
    text = " ".join(parts)
    return len(text) > 1 and re.fullmatch(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"", text, re.DOTALL) is not None


def _scalar(text: str) -> Any:
    if text[:1] == "'":
        if len(text) < 2 or text[-1] != "'":
            raise NotPlain("a quoted text has no end")
        return text[1:-1].replace("''", "'")
    if text[:1] in '"[{':
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise NotPlain(f"{text[:60]!r} cannot be read") from None
    plain = {"null": None, "~": None, "": None, "true": True, "false": False}
    if text.lower() in plain:
        return plain[text.lower()]
    if re.fullmatch(r"[-+]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[-+]?\d+\.\d*(e[-+]?\d+)?", text, re.IGNORECASE):
        return float(text)
    return text


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
