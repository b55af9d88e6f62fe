from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np
import pandas as pd
import PIL.Image
import pydantic
import pytest
from numpy.typing import NDArray
from starlette.datastructures import FormData

from hatchway.errors import LoadError
from hatchway.replica.typed.arrays import Arrays
from hatchway.replica.typed.decoder import UNTYPED
from hatchway.replica.typed.decoders import choose, payload_of
from hatchway.replica.typed.frames import Frames
from hatchway.replica.typed.images import Images
from hatchway.replica.typed.raw import Bytes, Text
from hatchway.replica.typed.values import Values
from tests.replica.typed.refusals import refused


class Table(pd.DataFrame):  # type: ignore[misc]  # pandas is untyped here
    """As a type checker's stand-in for a frame may be."""


@pytest.mark.parametrize("content_type", [b"application/json", b"application/problem+json"])
def test_a_text_may_be_a_json_string(content_type: bytes) -> None:
    assert choose(str).decode(content_type, b'"caf\\u00e9"') == "café"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bytes, Bytes),
        (str, Text),
        (np.ndarray, Arrays),
        (NDArray[np.float32], Arrays),
        (Annotated[np.ndarray, "4 numbers"], Arrays),
        (pd.DataFrame, Frames),
        (Table, Frames),
        (PIL.Image.Image, Images),
        (dict, Values),
        (list[float], Values),
        (Annotated[str, "a note"], Values),
    ],
)
def test_the_annotation_chooses_the_decoder(annotation: Any, expected: type) -> None:
    assert type(choose(annotation)) is expected


@pytest.mark.parametrize("annotation", [Any, object, FormData])
def test_some_annotations_change_nothing(annotation: Any) -> None:
    assert choose(annotation) is UNTYPED


def test_annotations_that_are_text_are_resolved_where_they_stand() -> None:
    def predict(payload: NDArray[np.float32], more: NotImported = None) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert isinstance(payload_of(predict, "function predict").decoder, Arrays)


def unknown(payload: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def unsupported(payload: dict[str, np.ndarray]) -> None: ...


class Incomplete(pydantic.BaseModel):
    inner: Missing  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class Unfinished:
    inner: Missing  # type: ignore[name-defined]  # noqa: F821


def incomplete(payload: Incomplete) -> None: ...


def unfinished(payload: list[Unfinished]) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unknown, ["Missing", "cannot be resolved", "not defined"]),
        (unsupported, ["cannot be decoded"]),
        (incomplete, ["cannot be decoded", "Incomplete"]),
        (unfinished, ["cannot be decoded", "Missing"]),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named_with_its_place(function: Any, words: list[str]) -> None:
    with pytest.raises(LoadError) as caught:
        payload_of(function, "class Handler: handle_post (handler.py:12)")
    assert caught.value.reason == "BadSignature"
    assert caught.value.hint
    assert [w for w in ["class Handler: handle_post (handler.py:12)", *words] if w not in str(caught.value)] == []


def test_bytes_are_the_body_whatever_it_is() -> None:
    assert choose(bytes).decode(b"application/json", b"{") == b"{"
    assert choose(bytes).takes_forms is False


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (None, "grün".encode(), "grün"),
        (b"text/html; charset=latin-1", "grün".encode("latin-1"), "grün"),
        (b"application/json", b'"x"', "x"),
    ],
)
def test_text_is_decoded_by_its_charset(content_type: bytes | None, body: bytes, expected: str) -> None:
    assert choose(str).decode(content_type, body) == expected


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (b"text/plain", b"\xff", 400),
        (b"text/plain; charset=klingon", b"x", 400),
        (b"text/plain; charset=punycode", b"x", 400),
        (b"application/json", b"1", 422),
        (b"image/png", b"x", 415),
    ],
)
def test_what_is_no_text_is_refused(content_type: bytes, body: bytes, status: int) -> None:
    assert refused(lambda: choose(str).decode(content_type, body)).status == status
