"""What connects a function of any signature to requests, and values of NumPy and pandas to JSON."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hatchway.errors import UsageError
from hatchway.interactive.sources import Definition, describe, source_of

HANDED_IN = ("payload", "query_params", "headers", "request", "request_id")


@dataclass(frozen=True)
class Entrance:
    """What a request is given to: its name in handler.py, and its text there when it had to be written."""

    name: str
    text: str = ""
    imports: tuple[str, ...] = ()


def entrance(target: Definition, name: str) -> Entrance:
    """A handler's class, or a function whose arguments have a handler's names, is its own entrance. The one argument
    of another function is the payload, whatever it is called; several are the keys of the payload.

    Raises UsageError for a function that cannot be called by a request.
    """
    if isinstance(target, type):
        return Entrance(name)
    parameters = list(inspect.signature(target).parameters.values())
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    required = [one for one in named if one.default is one.empty]
    if any(one.name in HANDED_IN for one in named):
        strange = [one.name for one in required if one.name not in HANDED_IN]
        if strange:
            raise UsageError(
                f"{describe(target)} asks for {', '.join(strange)} beside what a handler can ask for",
                hint=f"give it a default, or use only: {', '.join(HANDED_IN)}",
            )
        return Entrance(name)
    if not named:
        return Entrance(name)
    written = _annotations(target)
    awaits = ("async ", "await ") if inspect.iscoroutinefunction(target) else ("", "")
    if len(named) == 1:
        return Entrance("answer", _one(name, named[0], written, awaits))
    return Entrance("answer", _several(name, named, written, awaits), ("import dataclasses", "import typing"))


def _one(name: str, only: inspect.Parameter, written: Mapping[str, str], awaits: tuple[str, str]) -> str:
    annotation = f": {written[only.name]}" if only.name in written else ""
    return f"{awaits[0]}def answer(payload{annotation}):\n    return {awaits[1]}{name}(payload)\n"


def _several(name: str, named: list[inspect.Parameter], written: Mapping[str, str], awaits: tuple[str, str]) -> str:
    """A payload of named fields, so that a wrong one is answered with the field's name."""
    ordered = sorted(named, key=lambda one: one.default is not one.empty)
    fields = "".join(
        f"    {one.name}: {written.get(one.name, 'typing.Any')}"
        + ("" if one.default is one.empty else f" = {_default(one)}")
        + "\n"
        for one in ordered
    )
    given = ", ".join(f"{one.name}=payload.{one.name}" for one in named if one.kind is not one.POSITIONAL_ONLY)
    positional = "".join(f"payload.{one.name}, " for one in named if one.kind is one.POSITIONAL_ONLY)
    return (
        f"@dataclasses.dataclass\nclass Payload:\n{fields}\n\n"
        f"{awaits[0]}def answer(payload: Payload):\n    return {awaits[1]}{name}({positional}{given})\n"
    )


def _default(parameter: inspect.Parameter) -> str:
    text = repr(parameter.default)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = object()
    if value != parameter.default or isinstance(value, list | dict | set):
        raise UsageError(
            f"the default of the argument {parameter.name} cannot be written down: {text[:60]}",
            hint="make it None, a number, text or a tuple",
        )
    return text


def _annotations(target: Definition) -> dict[str, str]:
    """As they are written in the source; none for a function that is imported, whose names mean something elsewhere."""
    if target.__module__ != "__main__":
        return {}
    (node,) = ast.parse(source_of(target).text).body[:1]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation is not None}


def to_json(value: Any) -> Any:
    """NumPy, pandas and torch values, at any depth, as what JSON has; everything else as it is."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if type(value).__name__ == "DataFrame" and hasattr(value, "to_dict"):
        return to_json(value.to_dict(orient="records"))
    if type(value).__name__ == "Series" and hasattr(value, "to_dict"):
        return to_json(value.to_dict())
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else value
