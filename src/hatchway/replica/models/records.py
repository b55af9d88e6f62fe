"""Records that are no rows of a table: texts, and objects with any keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hatchway.errors import RequestError
from hatchway.replica.models.columns import one_or_many
from hatchway.replica.models.model import Schema


class Records(Protocol):
    """What payloads of a model consist of."""

    @property
    def schema(self) -> Schema: ...

    @property
    def example(self) -> Any: ...

    def read(self, payload: Any) -> tuple[list[Any], bool]: ...


class Texts:
    """A text, or a list of texts."""

    schema: Schema = one_or_many({"type": "string"})
    example: Any = "some text"

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return read_each(payload, str, "a text")


class Objects:
    """An object, or a list of objects; keys that the model was not trained on are its own affair."""

    def __init__(self, known: Sequence[str]) -> None:
        self.schema: Schema = one_or_many({"type": "object"})
        self.example: Any = {name.partition("=")[0]: name.partition("=")[2] or 1.0 for name in known[:5]}

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return read_each(payload, dict, "an object")


def read_each(payload: Any, kind: type, called: str) -> tuple[list[Any], bool]:
    """One value of this kind, or a list of them."""
    if isinstance(payload, kind):
        return [payload], True
    if not isinstance(payload, list):
        raise RequestError(f"send {called}, or a list of such", status=422)
    for index, item in enumerate(payload):
        if not isinstance(item, kind):
            raise RequestError(f"record {index} is not {called}", status=422)
    return payload, False
