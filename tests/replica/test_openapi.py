from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pydantic
import pytest
from numpy.typing import NDArray
from starlette.responses import Response

from hatchway.contract import Launch
from hatchway.replica.loading import Handler, Method
from hatchway.replica.openapi import document
from hatchway.replica.typed.decoders import payload_of
from hatchway.replica.typed.hints import result_type

PATHS: dict[str, Any] = {"project_dir": "/p", "data_socket": "/d", "control_socket": "/c", "last_words_path": "/l"}


class Tag(pydantic.BaseModel):
    text: str


class Item(pydantic.BaseModel):
    tags: list[Tag] = []


def method(function: Callable[..., Any], *arguments: str, **fields: Any) -> Method:
    return Method(function, arguments, False, payload_of(function, "here").decoder, result_type(function), **fields)


def described(*, example: Any = None, warmup: Any = None, endpoint: str = "/iris", **methods: Method) -> Any:
    launch = Launch(api="iris", revision="iris-1", replica_id="r", example=example, warmup=warmup, **PATHS)
    handler = Handler({verb.upper(): each for verb, each in methods.items()}, "class Handler (sync)", 1)
    return document(launch, handler, endpoint)


def predict(payload: list[Item]) -> Item:
    """Say what it is.

    At length.
    """
    return payload[0]


def test_the_document_says_where_and_what_the_api_is() -> None:
    found = described(post=method(predict, "payload"))
    assert found["openapi"].startswith("3.1")
    assert found["info"]["title"] == "iris"
    assert found["info"]["version"] == "iris-1"
    assert found["servers"] == [{"url": "/iris"}]
    assert described(post=method(predict, "payload"), endpoint="")["servers"] == [{"url": "/"}]


def test_the_payload_and_the_result_are_those_of_the_annotations() -> None:
    found = described(post=method(predict, "payload"))
    post = found["paths"]["/"]["post"]
    assert (post["summary"], post["description"]) == ("Say what it is.", "At length.")
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["items"] == {"$ref": "#/components/schemas/Item"}
    assert {"Item", "Tag", "Tag-Output"} <= set(found["components"]["schemas"])
    assert post["responses"]["200"]["content"]["application/json"]["schema"]["title"] == "Item"


def test_every_reference_leads_somewhere() -> None:
    found = described(post=method(predict, "payload"))

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                target = found
                for part in value["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(found)


def test_the_errors_are_those_that_are_given() -> None:
    def raw(payload: bytes) -> bytes:
        return payload

    assert set(described(post=method(predict, "payload"))["paths"]["/"]["post"]["responses"]) == {
        *("200", "400", "413", "415", "422", "500", "503", "504")
    }
    assert {"415", "422"}.isdisjoint(described(post=method(raw, "payload"))["paths"]["/"]["post"]["responses"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"example": [1], "warmup": [2]}, [1]),
        ({"warmup": [2]}, [2]),
        ({}, None),
    ],
)
def test_the_example_is_the_specs_else_the_warm_up(fields: dict[str, Any], expected: Any) -> None:
    media = described(post=method(predict, "payload"), **fields)["paths"]["/"]["post"]["requestBody"]["content"]
    assert media["application/json"].get("example") == expected


def test_what_a_model_file_says_comes_before_the_annotations() -> None:
    says: dict[str, Any] = {"input_schema": {"title": "in"}, "output_schema": {"title": "out"}, "example": [5]}
    post = described(post=method(predict, "payload", **says))["paths"]["/"]["post"]
    assert post["requestBody"]["content"] == {"application/json": {"schema": {"title": "in"}, "example": [5]}}
    assert post["responses"]["200"]["content"] == {"application/json": {"schema": {"title": "out"}}}


def test_a_method_without_payload_has_no_body() -> None:
    def look(query_params: Any) -> str:
        return "x"

    get = described(get=method(look, "query_params"))["paths"]["/"]["get"]
    assert "requestBody" not in get
    assert get["parameters"][0]["in"] == "query"


class Results:
    def array(self) -> NDArray[np.float32]:
        raise NotImplementedError

    def frame(self) -> pd.DataFrame:
        raise NotImplementedError

    def image(self) -> PIL.Image.Image:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError

    def raw(self) -> bytes:
        raise NotImplementedError

    def stream(self) -> AsyncIterator[str]:
        raise NotImplementedError

    def response(self) -> Response:
        raise NotImplementedError

    def silent(self):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def unknown(self) -> Missing:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    def follow_up(self) -> tuple[Item, Callable[[], None]]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "first", "others"),
    [
        (Results.array, "application/json", {"application/x-npy"}),
        (Results.frame, "application/json", {"text/csv", "application/vnd.apache.parquet"}),
        (Results.image, "image/png", {"image/jpeg", "image/webp"}),
        (Results.text, "text/plain", set()),
        (Results.raw, "application/octet-stream", set()),
        (Results.stream, "application/x-ndjson", {"text/event-stream"}),
        (Results.response, "*/*", set()),
        (Results.silent, "*/*", set()),
        (Results.unknown, "*/*", set()),
        (Results.follow_up, "application/json", set()),
    ],
)
def test_a_result_is_told_with_the_forms_it_has(function: Any, first: str, others: set[str]) -> None:
    content = described(post=method(function))["paths"]["/"]["post"]["responses"]["200"]["content"]
    assert next(iter(content)) == first
    assert others <= set(content)
