from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from hatchway.cli.curl import curl_line, documented_example

URL = "http://127.0.0.1:8484/iris"


@pytest.mark.parametrize(
    ("handler", "payload"),
    [
        ({"example": {"a": 1}, "warmup": {"b": 2}}, {"a": 1}),
        ({"example": None, "warmup": {"b": 2}}, {"b": 2}),
        ({"example": 0}, 0),
        ({"example": "it's $HOME"}, "it's $HOME"),
        ({"example": [[5.1, 3.5]]}, [[5.1, 3.5]]),
        ({}, {}),
    ],
)
def test_the_payload_is_the_example_else_the_warmup(handler: dict[str, Any], payload: object) -> None:
    command, url, *flags = shlex.split(curl_line(URL, {"handler": handler}))
    assert (command, url) == ("curl", URL)
    assert flags[:2] == ["-H", "content-type: application/json"]
    assert json.loads(flags[-1]) == payload


def test_an_application_is_asked_at_its_root() -> None:
    assert curl_line(URL, {"handler": {"app": "main:app", "example": None}}) == f"curl {URL}/"


def test_what_the_api_says_of_itself_comes_last() -> None:
    assert curl_line(URL, {"handler": {"example": 1}}, 2).endswith("-d 1")
    assert curl_line(URL, {"handler": {}}, 2).endswith("-d 2")


@pytest.mark.parametrize(
    ("content", "example"),
    [
        ({"application/json": {"example": [1]}}, [1]),
        ({"application/json": {"schema": {"example": [2]}}}, [2]),
        ({"application/json": {"schema": {}}}, None),
        ({"text/csv": {"example": "a"}}, None),
    ],
)
def test_the_example_of_a_document(content: dict[str, Any], example: object) -> None:
    document = {"paths": {"/docs": {"get": {}}, "/": {"post": {"requestBody": {"content": content}}}}}
    assert documented_example(document) == example


@pytest.mark.parametrize("document", [None, [], {}, {"paths": 1}, {"paths": {"/": {"get": {}}}}, {"paths": {"/": 3}}])
def test_another_document_shows_none(document: object) -> None:
    assert documented_example(document) is None
