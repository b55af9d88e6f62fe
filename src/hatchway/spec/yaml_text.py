"""YAML text -> plain data that remembers its lines, with bounds on what a file may ask of us.

The text is composed into nodes, not loaded: nodes know their lines and keep what was written, so that a
duplicate key, a tab, a self-reference or a map key that is no text is told with its line. Scalars are read by
`values.read_scalar`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from hatchway.spec.values import Wrong, read_tagged
from hatchway.spec.variables import Path

MAX_CHARS = 2**20
MAX_NODES = 100_000  # after aliases are followed: a few lines of them can stand for billions of values
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"


class YamlError(Exception):
    """The text is not YAML, or more than we read. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass
class YamlData:
    """What a text says: plain data, the line of each key and item by path, and mistakes found on the way."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[tuple[Path, int, str]] = field(default_factory=list)  # (path, line, message)


def read_yaml(text: str) -> YamlData:
    """Raises YamlError for a text that cannot be read at all; lesser mistakes are in the result."""
    if len(text) > MAX_CHARS:
        raise YamlError(1, f"the file is larger than {MAX_CHARS // 1024} KiB; split it")
    data = YamlData()
    root = _compose(text)
    if root is not None:
        data.value = _Reader(data).read(root, ())
    return data


class _Loader(yaml.SafeLoader):
    """Composes nodes to a bounded depth: beyond it, recursion would end the process."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:
            raise YamlError(self.line + 1, "nested too deeply")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)  # checks the characters of the whole text
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise YamlError(line, f"the character {text[exc.position]!r} is not allowed in YAML") from exc
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _plain(exc, text)) from exc
    except (ValueError, OverflowError, IndexError) as exc:  # PyYAML on escapes such as "\UFFFFFFFF"
        raise YamlError(loader.line + 1, "an escape in quotes is not a character") from exc
    finally:
        loader.dispose()
    return node


_PLAIN = (
    ("'\\t'", "a tab cannot be used for indentation; use spaces"),
    ("but found another document", "one document a file: write several APIs as a list (- name: ...), without ---"),
    ("could not find expected ':'", "this is not YAML: a key without its colon, or quotes that are not closed"),
    (
        "mapping values are not allowed here",
        "this is not YAML: a second colon in one line; put text with ': ' in quotes, or check the indentation",
    ),
    ("<stream end>", "this is not YAML: brackets are not closed, or a value is missing"),
    ("unexpected end of stream", "this is not YAML: quotes or brackets are not closed"),
)


def _plain(exc: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's complaint in words that say what to do."""
    problem = f"{exc.problem or ''} {exc.context or ''}".strip()
    mark = exc.problem_mark
    line = text.splitlines()[mark.line : mark.line + 1] if mark else []
    if "${" in "".join(line) and "flow" in problem:
        return "inside { } and [ ], a ${VAR} must be in quotes"
    for sign, message in _PLAIN:
        if sign in problem:
            return message
    return f"this is not YAML: {exc.problem or exc}"


class _Reader:
    """Nodes -> plain data, once through, following aliases within bounds."""

    def __init__(self, data: YamlData) -> None:
        self._data = data
        self._count = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_NODES:
            raise YamlError(line, "the file stands for too many values; use fewer aliases (*name)")
        if id(node) in self._open:
            raise YamlError(line, "an alias (*name) refers to what it is part of")
        if len(path) > MAX_DEPTH:
            raise YamlError(line, "nested too deeply")
        self._data.lines.setdefault(path, line)
        self._open.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._mistake(path, node, f"the tag {node.tag.replace(_TAG, '!!')} is not understood; remove it")
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._map(node, path)

    def _map(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged.update(self._merge(value_node, path))
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            inner = (*path, key)
            if key in found:
                first = self._data.lines[inner]
                self._mistake(inner, key_node, f"is given twice (first in line {first}); keep one of them")
                continue
            self._data.lines[inner] = key_node.start_mark.line + 1
            found[key] = self.read(value_node, inner)
        return {**merged, **found}

    def _merge(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """What `<<: *base` brings along; its lines are those of the base."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            value = self.read(source, path)
            if isinstance(value, dict):
                merged.update(value)
            else:
                self._mistake(path, source, "<< takes a map, or a list of maps")
        return merged

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._mistake(path, node, "a map or a list cannot be a key")
            return None
        quoted = node.style is not None
        if node.tag != _TAG + "str" and not quoted:
            self._mistake(path, node, f"the key {node.value} is read as something else than text; put it in quotes")
            return None
        return self._text(node, path)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("str", "null", "bool", "int", "float", "timestamp", "value"):
            self._mistake(path, node, f"the tag {node.tag.replace(_TAG, '!!')} is not understood; remove it")
            return None
        try:
            return read_tagged(kind, self._text(node, path))
        except (Wrong, ValueError) as exc:
            note = exc.note if isinstance(exc, Wrong) else f"{node.value!r} is not of the type {kind}"
            self._mistake(path, node, note)
            return None

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        text: str = node.value
        if re.search("[\ud800-\udfff]", text):
            self._mistake(path, node, "half a character: an escape such as \\ud83d must be a whole one")
            return re.sub("[\ud800-\udfff]", "?", text)
        return text

    def _mistake(self, path: Path, node: yaml.Node, message: str) -> None:
        self._data.mistakes.append((path, node.start_mark.line + 1, message))
