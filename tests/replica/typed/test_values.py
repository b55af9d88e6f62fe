"""One table for pydantic's validation and for ours: handlers mean the same with either."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import annotated_types
import PIL.Image
import pydantic
import pytest
import typing_extensions
from pydantic import v1 as pydantic_1
from starlette.datastructures import UploadFile

from hatchway.replica.payloads import JSON
from hatchway.replica.typed.plain import Plain, Unsupported
from hatchway.replica.typed.values import _Pydantic, values
from tests.replica.typed.refusals import places, refused


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclasses.dataclass
class Flower:
    width: float
    name: str = "iris"
    sizes: list[Size] = dataclasses.field(default_factory=list)


class Box(typing_extensions.TypedDict):
    flower: Flower
    count: typing_extensions.NotRequired[int]


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


class Standard(typing.TypedDict):
    a: int
    b: typing.NotRequired[str]


class Model(pydantic.BaseModel):
    width: float
    tags: list[str] = []


class Old(pydantic_1.BaseModel):
    width: float


def with_pydantic(annotation: Any) -> Any:
    return _Pydantic(pydantic, annotation)


@pytest.fixture(params=[with_pydantic, Plain], ids=["pydantic", "plain"])
def validator(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = request.param
    return made


@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (int, b"3", 3),
        (int, b"3.0", 3),
        (float, b"3", 3.0),
        (bool, b"true", True),
        (str, b'"x"', "x"),
        (bytes, b'"x"', b"x"),
        (date, b'"2026-01-31"', date(2026, 1, 31)),
        (Decimal, b"1.5", Decimal("1.5")),
        (UUID, b'"00000000-0000-0000-0000-000000000001"', UUID(int=1)),
        (list[float], b"[1, 2.5]", [1.0, 2.5]),
        (list, b'[1, "x"]', [1, "x"]),
        (typing.List, b'[1, "x"]', [1, "x"]),  # noqa: UP006 (how many write it)
        (typing.Dict, b'{"a": 1}', {"a": 1}),  # noqa: UP006
        (typing.Tuple, b'[1, "x"]', (1, "x")),  # noqa: UP006
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (dict[int, int], b'{"1": 1}', {1: 1}),
        (dict, b'{"a": null}', {"a": None}),
        (tuple[int, str], b'[1, "x"]', (1, "x")),
        (tuple[int, ...], b"[1, 2]", (1, 2)),
        (set[int], b"[1, 1, 2]", {1, 2}),
        (int | None, b"null", None),
        (int | str, b'"3"', "3"),
        (float | list[float], b"[1]", [1.0]),
        (typing.Optional[list[int]], b"null", None),  # noqa: UP045 (how many write it)
        (Literal["a", 1], b'"a"', "a"),
        (Size, b'"s"', Size.SMALL),
        (list[Any], b"[[1]]", [[1]]),
        (Flower, b'{"width": 1, "sizes": ["l"], "more": 0}', Flower(1.0, "iris", [Size.LARGE])),
        (Box, b'{"flower": {"width": 2}}', {"flower": Flower(2.0)}),
        (list[Flower], b'[{"width": 1}]', [Flower(1.0)]),
        (Tree, b'{"value": 1, "children": [{"value": 2}]}', Tree(1, [Tree(2)])),
        (Model, b'{"width": 1}', Model(width=1)),
        (list[Model], b'[{"width": "1"}]', [Model(width=1)]),
        (Annotated[int, "a note"], b"1", 1),
    ],
)
def test_json_becomes_what_the_annotation_says(
    validator: Callable[[Any], Any], annotation: Any, body: bytes, expected: object
) -> None:
    found = validator(annotation).from_json(body)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (int, b'"x"', [("", "int_parsing")]),
        (int, b"1.5", [("", "int_from_float")]),
        (int, b"[]", [("", "int_type")]),
        (float, b'"x"', [("", "float_parsing")]),
        (float, b"{}", [("", "float_type")]),
        (str, b"1", [("", "string_type")]),
        (date, b'"yesterday"', None),
        (list[float], b'[1, "x", 2, null]', [("1", "float_parsing"), ("3", "float_type")]),
        (list[float], b"1", [("", "list_type")]),
        (dict[str, int], b'{"a": []}', [("a", "int_type")]),
        (Literal["a", "b"], b'"c"', [("", "literal_error")]),
        (Size, b'"m"', [("", "enum")]),
        (Flower, b"{}", [("width", "missing")]),
        (Box, b'{"flower": {"width": "wide", "sizes": ["x"]}}', None),
        (Model, b'{"width": 1, "tags": [1]}', [("tags.0", "string_type")]),
        (list[Model], b"[{}]", [("0.width", "missing")]),
    ],
)
def test_what_is_wrong_is_named_by_its_path(
    validator: Callable[[Any], Any], annotation: Any, body: bytes, expected: list[tuple[str, str]] | None
) -> None:
    found = places(refused(lambda: validator(annotation).from_json(body)))
    assert found == expected if expected is not None else len(found) >= 1


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b"[Infinity]", b"[1e999]", b"\xff", b"[" * 2000, b'"\\ud800"'])
def test_what_is_not_json_is_a_400(validator: Callable[[Any], Any], body: bytes) -> None:
    assert refused(lambda: validator(list[Any]).from_json(body)).status == 400


def test_a_word_in_a_string_is_no_number(validator: Callable[[Any], Any]) -> None:
    assert validator(str).from_json(b'"NaN"') == "NaN"


def test_a_body_that_is_wrong_everywhere_is_answered_with_the_first_hundred_places(
    validator: Callable[[Any], Any],
) -> None:
    assert len(refused(lambda: validator(list[int]).from_json(b"[" + b"null," * 10_000 + b"null]")).details) == 100


def test_a_body_nested_deeper_than_its_type_can_go_is_refused(validator: Callable[[Any], Any]) -> None:
    deep = b'{"value": 1, "children": [' * 505 + b"]}" * 505
    assert refused(lambda: validator(Tree).from_json(deep)).status in (400, 422)


def test_a_model_of_pydantic_1_is_validated_by_itself() -> None:
    decoder = values(dict[str, Old])
    assert decoder.decode(JSON, b'{"a": {"width": 1}}') == {"a": Old(width=1)}
    error = refused(lambda: decoder.decode(JSON, b'{"a": {"width": "x"}}'))
    assert places(error) == [("a.width", "type_error.float")]


def test_a_typed_dict_of_the_standard_library_is_taken_on_every_python() -> None:
    decoder = values(Standard)
    assert decoder.decode(JSON, b'{"a": 1}') == {"a": 1}
    assert places(refused(lambda: decoder.decode(JSON, b'{"b": "x"}'))) == [("a", "missing")]


@pytest.mark.parametrize("annotation", [object(), dict[str, UploadFile] | PIL.Image.Image])
def test_what_nobody_can_validate_is_said_when_it_is_read(annotation: Any) -> None:
    with pytest.raises(Unsupported):
        values(annotation)


def test_constraints_are_refused_where_nobody_checks_them() -> None:
    with pytest.raises(Unsupported, match="pydantic 2"):
        Plain(Annotated[int, annotated_types.Gt(0)])
    assert refused(lambda: values(Annotated[int, annotated_types.Gt(0)]).decode(JSON, b"0")).status == 422


def test_only_json_is_taken_and_the_answer_says_so() -> None:
    decoder = values(list[float])
    assert decoder.decode(b"application/vnd.api+json; charset=utf-8", b"[1]") == [1.0]
    assert decoder.decode(None, b"[1]") == [1.0]
    error = refused(lambda: decoder.decode(b"text/csv", b"1"))
    assert (error.status, error.message) == (415, "this API takes application/json; this is text/csv")


def test_no_body_is_none_where_that_is_allowed() -> None:
    assert values(Model | None).decode(None, b"") is None
    assert refused(lambda: values(Model).decode(None, b"")).status == 400


def test_the_schema_names_what_it_refers_to(validator: Callable[[Any], Any]) -> None:
    schema, definitions = validator(list[Flower]).schema()
    assert schema["items"] == {"$ref": "#/components/schemas/Flower"}
    assert definitions["Flower"]["required"] == ["width"]
    assert definitions["Flower"]["properties"]["width"]["type"] == "number"
