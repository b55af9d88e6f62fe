from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from hatchway.replica.responses import render
from hatchway.replica.typed.answers import best
from hatchway.replica.typed.frames import ARROW_FILE, ARROW_STREAM, CSV, PARQUET

ARRAY = np.array([1.5, float("nan")])
FRAME = pd.DataFrame({"a": [1, 2]})
IMAGE = PIL.Image.new("RGB", (2, 2))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"", "a/x"),
        (b"*/*", "a/x"),
        (b"b/y", "b/y"),
        (b"B/Y;q=0.5, a/x;q=0.4", "b/y"),
        (b"b/*, a/x;q=0.9", "b/y"),
        (b"text/html, */*;q=0.1", "a/x"),
        (b"*/*, a/x;q=0", "b/y"),
        (b"text/html", "a/x"),
        (b"b/y;q=nonsense", "a/x"),
        (b";;,,q=1;=", "a/x"),
        (b"\xff", "a/x"),
    ],
)
def test_the_header_chooses_among_what_is_offered(accept: bytes, expected: str) -> None:
    assert best(accept, ("a/x", "b/y")) == expected


@pytest.mark.parametrize(
    ("value", "accept", "content_type"),
    [
        (ARRAY, "", "application/json"),
        (ARRAY, "application/x-npy", "application/x-npy"),
        (FRAME, "*/*", "application/json"),
        (FRAME, CSV, CSV),
        (FRAME, PARQUET, PARQUET),
        (FRAME, ARROW_STREAM, ARROW_STREAM),
        (FRAME, ARROW_FILE, ARROW_FILE),
        (IMAGE, "", "image/png"),
        (IMAGE, "image/jpeg", "image/jpeg"),
        ({"a": 1}, CSV, "application/json"),
        (np.array([None]), "application/x-npy", "application/json"),  # no .npy without pickle
    ],
)
def test_a_value_is_sent_as_the_caller_accepts_it(value: Any, accept: str, content_type: str) -> None:
    answer = render(value, accept.encode())
    assert answer.content_type.decode() == content_type
    assert answer.body


def test_an_array_and_a_frame_come_back_as_they_were() -> None:
    sent = render(ARRAY, b"application/x-npy").body
    np.testing.assert_array_equal(np.load(io.BytesIO(sent)), ARRAY)
    assert render(ARRAY).body == b"[1.5,null]"
    assert render(FRAME, CSV.encode()).body == b"a\n1\n2\n"
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(render(FRAME, PARQUET.encode()).body)), FRAME)


def test_caches_are_told_that_the_header_chose() -> None:
    assert render(FRAME).extra == [(b"vary", b"accept")]
    assert render({"a": 1}).extra is None
