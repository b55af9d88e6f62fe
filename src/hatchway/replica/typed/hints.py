"""What a method's annotations say: the types of its payload and of its result, resolved once when it is loaded."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

from hatchway.errors import LoadError

NOTHING = inspect.Parameter.empty  # no annotation


def payload_type(function: Callable[..., Any], owner: str) -> Any:
    """The type of `payload`, or NOTHING. Raises LoadError (BadSignature): `owner` says where it stands."""
    try:
        parameter = inspect.signature(function).parameters.get("payload")
    except (TypeError, ValueError):
        return NOTHING  # written in C: nothing to read
    if parameter is None or parameter.annotation is NOTHING:
        return NOTHING
    try:
        return _resolved(parameter.annotation, function)
    except Exception as exc:  # any expression may stand there
        raise LoadError(
            f"{owner} annotates its payload as {shown(parameter.annotation)}, which cannot be resolved: {exc}",
            reason="BadSignature",
            hint="define or import the name in the handler's file, and outside of `if TYPE_CHECKING:`",
        ) from exc


def result_type(function: Callable[..., Any]) -> Any:
    """The type of what it returns, or NOTHING. It only documents, so one that cannot be resolved is none."""
    try:
        annotation = inspect.signature(function).return_annotation
        return annotation if annotation is NOTHING else _resolved(annotation, function)
    except Exception:  # noqa: BLE001 (as above)
        return NOTHING


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    def stand_in() -> None:
        """get_type_hints wants something with annotations: this has only the one that matters."""

    stand_in.__annotations__ = {"value": annotation}
    found = typing.get_type_hints(stand_in, globalns=_globals_of(function), include_extras=True)["value"]
    return found


def _globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    inner = inspect.unwrap(function)
    found = getattr(inner, "__globals__", None) or getattr(type(inner).__call__, "__globals__", None)
    return found if isinstance(found, dict) else {}


def item_type(annotation: Any) -> Any:
    """X of `list[X]` and other sequences of X, else NOTHING."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Sequence) and origin is not tuple and len(arguments) == 1:
        return arguments[0]
    return NOTHING


def shown(annotation: Any) -> str:
    """As people write it."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
