"""The source of functions and classes that live in a running process, and the names in it that mean something outside.

Source rather than bytecode: it runs on any Python and package version, and people can read what serves them.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from hatchway.errors import UsageError

Definition = FunctionType | type


@dataclass(frozen=True)
class Source:
    """One top-level definition. `names` are those it takes from around it, in the order of the alphabet."""

    text: str
    names: tuple[str, ...]
    attributes: frozenset[str]  # dotted names as written, "os.path", "xgboost.sklearn"
    has_future_annotations: bool


def source_of(target: Definition) -> Source:
    """Raises UsageError when there is no source to be had, or when it cannot stand alone."""
    text = _text(target)
    tree = ast.parse(text)
    definition = tree.body[0] if tree.body else None
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        raise UsageError(
            f"{describe(target)} has no name of its own in its source",
            hint="write it as `def predict(payload): ...`",
        )
    table = symtable.symtable(text, "<source>", "exec")
    found = {*_outer_names(table), *_annotated_names(tree)} - {definition.name}
    names = tuple(sorted(name for name in found if not hasattr(builtins, name) or name in surroundings(target)))
    return Source(text.rstrip() + "\n", names, frozenset(_dotted(tree)), _has_future_annotations(target))


def surroundings(target: Definition) -> Mapping[str, Any]:
    """What the names in its source mean: those of its module, and the variables around a nested function."""
    functions = [target] if isinstance(target, FunctionType) else _methods(target)
    module = vars(sys.modules[target.__module__]) if target.__module__ in sys.modules else {}
    found: dict[str, Any] = dict(module)
    for function in functions:
        found |= function.__globals__ if isinstance(target, FunctionType) else {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                found[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return found


def describe(target: object) -> str:
    kind = "class" if isinstance(target, type) else "function"
    return f"{kind} {getattr(target, '__name__', type(target).__name__)}"


def _text(target: Definition) -> str:
    try:
        return textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError):
        text = _in_cells(target)
    if text is None:
        raise UsageError(
            f"the source of {describe(target)} cannot be read",
            hint="define it in a notebook's cell or in a file (not by exec, `python -c` or at the plain prompt)",
        )
    return text


def _in_cells(target: Definition) -> str | None:
    """The last cell of a notebook that defines it at top level: Python alone finds no class there."""
    for cell in reversed(vars(sys.modules.get("__main__")).get("In") or []):
        try:
            body = ast.parse(cell).body
        except SyntaxError:
            continue
        for node in reversed(body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == target.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "\n".join(cell.splitlines()[first - 1 : node.end_lineno]) + "\n"
    return None


def _methods(cls: type) -> list[FunctionType]:
    return [value for value in vars(cls).values() if isinstance(value, FunctionType)]


def _outer_names(table: symtable.SymbolTable, *, is_top: bool = True) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or (is_top and not symbol.is_assigned())):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _outer_names(inner, is_top=False)


def _annotated_names(tree: ast.AST) -> Iterator[str]:
    """Names in annotations, which a handler's payload is read by, also where they are only text."""
    for node in ast.walk(tree):
        annotations = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for annotation in filter(None, annotations):
            for part in ast.walk(_unquoted(annotation)):
                if isinstance(part, ast.Name):
                    yield part.id


def _unquoted(annotation: ast.expr) -> ast.AST:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value, mode="eval")
        except SyntaxError:
            return annotation
    return annotation


def _dotted(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if all(part.isidentifier() for part in text.split(".")):
                yield text


def _has_future_annotations(target: Definition) -> bool:
    flag = __future__.annotations.compiler_flag
    if isinstance(target, FunctionType):
        return bool(target.__code__.co_flags & flag)
    module = sys.modules.get(target.__module__)
    return getattr(module, "annotations", None) is __future__.annotations
