"""Which decoder an annotation asks for. Chosen once, when the handler is loaded."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hatchway.errors import LoadError
from hatchway.replica.typed import hints
from hatchway.replica.typed.arrays import Arrays, dtype_of
from hatchway.replica.typed.decoder import UNTYPED, Decoder
from hatchway.replica.typed.frames import Frames
from hatchway.replica.typed.images import Images
from hatchway.replica.typed.raw import Bytes, Text
from hatchway.replica.typed.values import values


@dataclass(frozen=True)
class Payload:
    """What makes a method's payload; with batching, of each request of a batch, which may be stacked to one array."""

    decoder: Decoder
    stacks: bool = False


def payload_of(function: Callable[..., Any], owner: str) -> Payload:
    """Of a method that gets one. Raises LoadError (BadSignature); `owner` says where the method stands."""
    return Payload(_chosen(hints.payload_type(function, owner), owner))


def payload_of_each(function: Callable[..., Any], owner: str) -> Payload:
    """Of a method that gets a batch: a list of what stands in `list[...]`, or one array. Raises as `payload_of`."""
    annotation = hints.payload_type(function, owner)
    if kind_of(_without_notes(annotation)) == "array":
        return Payload(_chosen(annotation, owner), stacks=True)
    each = hints.item_type(annotation)
    if each is hints.NOTHING and annotation not in (hints.NOTHING, Any, list):
        raise LoadError(
            f"{owner} annotates its payload as {hints.shown(annotation)}; with handler.batching it gets a list",
            reason="BadSignature",
            hint=f"annotate it as list[{hints.shown(annotation)}], or as numpy.ndarray to get arrays stacked",
        )
    return Payload(_chosen(each, owner))


def _chosen(annotation: Any, owner: str) -> Decoder:
    try:
        return choose(annotation)
    except Exception as exc:  # Unsupported, or a name in the annotation of a field that is not defined
        raise LoadError(
            f"{owner} annotates its payload with a type that cannot be decoded: {exc}",
            reason="BadSignature",
            hint="annotate it as Any, or not at all, to get what the request's content type says",
        ) from exc


def choose(annotation: Any) -> Decoder:
    """Raises Unsupported."""
    plain = _without_notes(annotation)
    if plain in (hints.NOTHING, Any, object) or kind_of(plain) == "form":
        return UNTYPED
    make = _MADE.get(kind_of(plain))
    return values(annotation) if make is None else make(plain)


def kind_of(annotation: Any) -> str:
    """ "array", "frame", "image", "bytes", "str", "form" (starlette's), or "" for all others. Imports nothing."""
    cls = typing.get_origin(annotation) or annotation
    if not isinstance(cls, type):
        return ""
    for base in cls.__mro__:
        kind = _KINDS.get((base.__module__.partition(".")[0], base.__qualname__))
        if kind is not None and (base is cls or kind in ("image", "frame")):
            return kind
    return ""


_MADE: dict[str, Callable[[Any], Decoder]] = {
    "bytes": lambda _: Bytes(),
    "str": lambda _: Text(),
    "array": lambda annotation: Arrays(dtype_of(annotation)),
    "frame": lambda _: Frames(),
    "image": lambda _: Images(),
}
_KINDS = {
    ("builtins", "bytes"): "bytes",
    ("builtins", "str"): "str",
    ("numpy", "ndarray"): "array",
    ("pandas", "DataFrame"): "frame",
    ("PIL", "Image"): "image",
    ("starlette", "FormData"): "form",
}


def _without_notes(annotation: Any) -> Any:
    """`Annotated[np.ndarray, "4 floats"]` is an array; notes on other types are pydantic's to check."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner = typing.get_args(annotation)[0]
        return inner if kind_of(inner) in ("array", "frame", "image") else annotation
    return annotation
