from __future__ import annotations

import pytest

from hatchway.replica.connection import request_id_of
from hatchway.replica.requests import Headers, QueryParams


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")])
    assert (headers["X-A"], headers.get("x-B"), headers.get("none")) == ("1, 3", "2", None)
    assert headers.getlist("X-A") == ["1", "3"]
    assert "X-B" in headers
    assert dict(headers) == {"x-a": "1, 3", "x-b": "2"}


def test_of_a_repeated_parameter_the_last_counts() -> None:
    query = QueryParams("a=1&b=%20x&a=2&empty=")
    assert (query["a"], query["b"], query["empty"], query.get("none", "d")) == ("2", " x", "", "d")
    assert query.getlist("a") == ["1", "2"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(b"abc-1", "abc-1"), (b"a" * 200, "a" * 128), (b"a\tb\xff", "ab"), (b"x y", "x y")],
)
def test_a_callers_id_is_kept_as_far_as_it_is_printable(given: bytes, expected: str) -> None:
    assert request_id_of(given) == expected


@pytest.mark.parametrize("given", [None, b"", b"\xff"])
def test_without_a_usable_id_a_new_one_is_made(given: bytes | None) -> None:
    assert len(request_id_of(given)) == 32
    assert request_id_of(given) != request_id_of(given)
