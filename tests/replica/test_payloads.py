from __future__ import annotations

import pytest

from hatchway.errors import RequestError
from hatchway.replica.payloads import is_form, parse


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (b"application/json", b'{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        (b"application/json; charset=utf-8", b"null", None),
        (b"APPLICATION/JSON", b"1", 1),
        (b"application/vnd.api+json", b'"x"', "x"),
        (b"text/plain", "grün".encode(), "grün"),
        (b"text/plain; charset=latin-1", "grün".encode("latin-1"), "grün"),
        (b'text/plain; charset="utf-16"', "x".encode("utf-16"), "x"),
        (b"text/plain", b"", ""),
        (b"image/png", b"\x89PNG", b"\x89PNG"),
        (b"text/html", b"<p>", b"<p>"),
        (None, b"raw", b"raw"),
        (None, b"", b""),
    ],
)
def test_a_payload_follows_its_content_type(content_type: bytes | None, body: bytes, expected: object) -> None:
    assert parse(content_type, body) == expected


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        (b"application/json", b"", ["empty", "application/json"]),
        (b"application/json", b'{"a":\n  nope}', ["line 2", "column"]),
        (b"application/json", b"\xff", ["not valid JSON"]),
        (b"application/json", b"[" * 100_000, ["not valid JSON"]),
        (b"text/plain; charset=klingon", b"x", ["klingon"]),
        (b"text/plain", b"\xff\xfe\xff", ["utf-8"]),
        (b"text/plain; charset=base64", b"x", ["base64"]),
        (b"text/plain; charset=a\x00b", b"x", ["unknown charset"]),
    ],
)
def test_a_damaged_body_is_a_400_that_says_what_is_wrong(content_type: bytes, body: bytes, words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        parse(content_type, body)
    assert caught.value.status == 400
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"multipart/form-data; boundary=x", True),
        (b"application/x-www-form-urlencoded", True),
        (b"application/json", False),
        (None, False),
    ],
)
def test_forms_are_known_by_their_type(content_type: bytes | None, expected: bool) -> None:
    assert is_form(content_type) is expected
