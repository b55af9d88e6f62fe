from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.replica.sse import encode_error, encode_event, is_event


def parse(stream: bytes) -> list[dict[str, str]]:
    """What a browser makes of it: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    events: list[dict[str, str]] = []
    fields: dict[str, list[str]] = {}
    for line in re.split(r"\r\n|\r|\n", stream.decode()):
        if not line:
            if fields:
                events.append({name: "\n".join(values) for name, values in fields.items()})
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
    return events


def an_event(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"data": None, "event": None, "id": None, "retry": None} | fields))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("token", b"data: token\n\n"),
        ("", b"data: \n\n"),
        ("[DONE]", b"data: [DONE]\n\n"),
        ({"a": [1, None]}, b'data: {"a":[1,null]}\n\n'),
        (None, b"data: null\n\n"),
        (
            an_event(data={"a": 1}, event="token", id=7, retry=1000),
            b'event: token\nid: 7\nretry: 1000\ndata: {"a":1}\n\n',
        ),
        (an_event(event="end"), b"event: end\n\n"),
        (an_event(comment="still\nhere"), b": still\n: here\n\n"),
        (an_event(raw_data="[DONE]"), b"data: [DONE]\n\n"),
        (an_event(data="x", event="a\ndata: b", id="c\r\0d"), b"event: a data: b\nid: c  d\ndata: x\n\n"),
    ],
)
def test_an_item_becomes_an_event(item: Any, expected: bytes) -> None:
    assert encode_event(item) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_client_reads_back_what_was_sent_line_ends_aside(texts: list[str]) -> None:
    sent = b"".join(encode_event(text) for text in texts)
    assert [event["data"] for event in parse(sent)] == [re.sub(r"\r\n|\r", "\n", text) for text in texts]


def test_a_failure_is_an_event_of_its_own_name() -> None:
    assert parse(encode_error({"kind": "internal_error"})) == [
        {"event": "error", "data": '{"error":{"kind":"internal_error"}}'}
    ]


@pytest.mark.parametrize("item", [{"data": 1, "event": 2, "id": 3, "retry": 4}, "text", SimpleNamespace(data=1, id=2)])
def test_what_lacks_one_of_the_four_attributes_is_no_event(item: Any) -> None:
    assert not is_event(item)
