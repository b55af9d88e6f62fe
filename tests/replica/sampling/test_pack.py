from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.replica.sampling.look import Shape, Values, look
from hatchway.replica.sampling.pack import MAX_NAMES, MAX_TEXTS, Packer, encode


def grouped(*payloads: Any, side: str = "input") -> dict[Shape, list[Values]]:
    groups: dict[Shape, list[Values]] = {}
    for payload in payloads:
        for shape, values in look(payload, side):
            groups.setdefault(shape, []).append(values)
    return groups


def packed(*payloads: Any, side: str = "input", packer: Packer | None = None) -> dict[str, Any]:
    return (packer or Packer()).pack(grouped(*payloads, side=side))


def test_a_column_for_each_field_and_the_number_of_records() -> None:
    assert packed({"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"b": "z", "a": 3}, {"a": 4}) == {
        "input": {"count": 4, "columns": {"a": [1, 2, 3, 4], "b": ["x", "y", "z"]}}
    }


def test_a_list_within_the_payload_has_records_of_its_own() -> None:
    tables = packed({"id": 1, "rows": [{"a": 1}, {"a": 2}]})
    assert tables["input"] == {"count": 1, "columns": {"id": [1]}}
    assert tables["input.rows"] == {"count": 2, "columns": {"a": [1, 2]}}


def test_a_field_of_long_texts_is_the_field_of_their_lengths_from_then_on() -> None:
    packer = Packer()
    assert packed({"text": "short"}, packer=packer)["input"]["columns"] == {"text": ["short"]}
    assert packed({"text": "x" * 100}, {"text": "short"}, packer=packer)["input"]["columns"] == {
        "text.length": [100, 5]
    }
    assert packed({"text": "short"}, packer=packer)["input"]["columns"] == {"text.length": [5]}
    assert packed({"text": None}, packer=packer)["input"]["columns"] == {"text.length": [None]}
    assert packed("y" * 100, packer=packer)["input"]["columns"] == {"length": [100]}


def test_names_of_long_texts_without_end_are_not_all_remembered() -> None:
    packer = Packer()
    for number in range(MAX_TEXTS + 10):
        columns = packed({f"text{number}": "x" * 100}, packer=packer)["input"]["columns"]
        assert columns == {f"text{number}.length": [100]}
    assert len(packer._texts) == MAX_TEXTS


def test_only_the_fields_that_are_watched() -> None:
    packer = Packer()
    packer.watch(["age", "home.city"], [])
    payload = {"age": 1, "name": "x", "home": {"city": "Oslo", "street": "y"}, "agent": 1}
    assert packed(payload, packer=packer)["input"]["columns"] == {"age": [1], "home.city": ["Oslo"]}
    assert packed({"score": 1}, side="output", packer=packer)["output"]["columns"] == {"score": [1]}


def test_redacted_fields_are_in_no_column() -> None:
    packer = Packer()
    packer.watch(None, ["email", "user.name", "prediction", "rows.email"])
    payload = {"email": "a@b", "user": {"name": "x", "age": 1}, "rows": [{"email": "c@d", "n": 1}]}
    tables = packed(payload, packer=packer)
    assert tables["input"]["columns"] == {"user.age": [1]}
    assert tables["input.rows"]["columns"] == {"n": [1]}
    answer = {"prediction": "x", "probabilities": {"x": 1.0}}
    assert packed(answer, side="output", packer=packer)["output"]["columns"] == {"confidence": [1.0]}


def test_names_are_bounded_in_number_and_length() -> None:
    columns = packed(*({f"{number}": 1} for number in range(MAX_NAMES + 100)), {"x" * 1000: 1})["input"]["columns"]
    assert len(columns) == MAX_NAMES
    assert max(map(len, columns)) < 100


@pytest.mark.parametrize("value", [10**400, -(2**70), 2**64, float("nan"), float("inf"), "\ud800", "a\x00b"])
def test_every_scalar_can_be_sent(value: Any) -> None:
    json.loads(encode({"columns": {"a": [value]}, "\ud800": 1}))


@given(st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.floats(allow_nan=False) | st.text(), max_size=5)))
def test_no_value_is_lost_or_invented(payloads: list[dict[str, Any]]) -> None:
    table = packed(*payloads).get("input", {"count": 0, "columns": {}})
    assert table["count"] == sum(bool(payload) for payload in payloads)
    for name, column in table["columns"].items():
        if not name.endswith("length"):
            assert column == [payload[name] for payload in payloads if name in payload] or set(column) == {
                payload[name] for payload in payloads if name in payload
            }
