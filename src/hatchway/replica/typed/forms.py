"""From a form to the fields of an annotation that has some: a pydantic model, a dataclass or a TypedDict.

What is uploaded stays an upload, or becomes the bytes of it where the field asks for bytes; everything else is text,
which the validator converts.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

_LISTS = (list, set, frozenset, tuple)


@dataclass(frozen=True)
class Field:
    """One field of the annotation as a form sees it."""

    is_upload: bool  # starlette's UploadFile, or a list of them
    is_bytes: bool
    is_list: bool  # repeated in the form
    is_flat: bool  # text can say it: no object is part of it


@dataclass(frozen=True)
class Fields:
    """By the names that forms have for them."""

    by_name: typing.Mapping[str, Field]

    @property
    def has_uploads(self) -> bool:
        return any(field.is_upload for field in self.by_name.values())

    @property
    def has_files(self) -> bool:
        return any(field.is_upload or field.is_bytes for field in self.by_name.values())

    @property
    def is_flat(self) -> bool:
        return all(field.is_flat for field in self.by_name.values())

    def read(self, form: Any) -> dict[str, Any]:
        """The values of starlette's FormData, by name: lists where the annotation has one, else the last value."""
        found: dict[str, Any] = {}
        for name in form:
            field = self.by_name.get(name)
            if field is None:
                found[name] = form[name]
                continue
            values = [_content(value) if field.is_bytes else value for value in form.getlist(name)]
            found[name] = values if field.is_list else values[-1]
        return found


def fields_of(annotation: Any) -> Fields | None:
    """None of an annotation without named fields."""
    types = field_types(annotation)
    return None if types is None else Fields({name: _field(of) for name, of in types.items()})


def field_types(annotation: Any) -> dict[str, Any] | None:
    """Name -> type of the fields of a model, dataclass or TypedDict; None of anything else."""
    if not isinstance(annotation, type):
        return None
    if hasattr(annotation, "model_fields") and hasattr(annotation, "model_validate"):  # pydantic 2
        return {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
    if hasattr(annotation, "__fields__") and hasattr(annotation, "parse_obj"):  # pydantic 1
        return {field.alias: field.outer_type_ for field in annotation.__fields__.values()}
    if typing.is_typeddict(annotation) or hasattr(annotation, "__required_keys__"):
        return typing.get_type_hints(annotation)
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation)
        return {field.name: hints[field.name] for field in dataclasses.fields(annotation) if field.init}
    return None


def is_upload(annotation: Any) -> bool:
    """starlette's UploadFile or a class made from it, as FastAPI's is."""
    return isinstance(annotation, type) and any(
        cls.__qualname__ == "UploadFile" and cls.__module__.partition(".")[0] == "starlette"
        for cls in annotation.__mro__
    )


def _field(annotation: Any) -> Field:
    members = list(_members(annotation))
    return Field(
        is_upload=any(is_upload(member) for member in members),
        is_bytes=bytes in members,
        is_list=any(typing.get_origin(member) in _LISTS or member in _LISTS for member in members),
        is_flat=not any(_is_object(member) for member in members),
    )


def _is_object(annotation: Any) -> bool:
    return annotation in (Any, dict) or typing.get_origin(annotation) is dict or field_types(annotation) is not None


def _members(annotation: Any) -> typing.Iterator[Any]:
    """The annotation, those it is a union of, and what its lists hold."""
    yield annotation
    for argument in typing.get_args(annotation):
        yield from _members(argument)


def _content(value: Any) -> Any:
    return value.file.read() if hasattr(value, "filename") else value
