"""What an API's document says of a method's result: content types and schemas, by the annotation of what it returns."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Mapping
from typing import Any

from hatchway.replica.typed import frames
from hatchway.replica.typed.answers import JSON, offers
from hatchway.replica.typed.arrays import NESTED_NUMBERS
from hatchway.replica.typed.decoder import Schema
from hatchway.replica.typed.decoders import kind_of
from hatchway.replica.typed.hints import NOTHING
from hatchway.replica.typed.plain import Unsupported
from hatchway.replica.typed.values import validator

BINARY: Schema = {"type": "string", "format": "binary"}
_ANYTHING: Mapping[str, Schema] = {"*/*": {}}
_STREAMS = (
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.AsyncIterator,
)


def content_of(annotation: Any) -> tuple[Mapping[str, Schema], Mapping[str, Schema]]:
    """(content type -> schema, the schemas those refer to). Anything, where the annotation does not say."""
    result = _without_follow_up(annotation)
    if result in (NOTHING, Any, object):
        return _ANYTHING, {}
    if typing.get_origin(result) in _STREAMS or result in _STREAMS:
        return {"application/x-ndjson": {}, "text/event-stream": {}, "text/plain": {}}, {}
    kind = kind_of(result)
    if kind in _BY_KIND:
        usual = _BY_KIND[kind]
        others = dict.fromkeys(offers(kind), BINARY)
        return others | usual, {}
    try:
        schema, definitions = validator(result).result_schema()
    except Unsupported:  # a response of Starlette's, or something that JSON is made of by its attributes
        return _ANYTHING, {}
    return {JSON: schema}, definitions


_BY_KIND: dict[str, dict[str, Schema]] = {
    "str": {"text/plain": {"type": "string"}},
    "bytes": {"application/octet-stream": BINARY},
    "array": {JSON: NESTED_NUMBERS},
    "frame": {JSON: {"type": "array", "items": {"type": "object"}}, frames.CSV: {"type": "string"}},
    "image": {},
}


def _without_follow_up(annotation: Any) -> Any:
    """`tuple[Result, Callable[[], None]]` answers its first part."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and len(parts) == 2:
        second = typing.get_origin(parts[1]) or parts[1]
        return parts[0] if second is collections.abc.Callable else annotation
    return annotation
