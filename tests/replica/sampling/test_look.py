from __future__ import annotations

import dataclasses
import enum
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hatchway.replica.sampling.look import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_FIELDS,
    MAX_ROWS,
    MAX_TEXT_CHARS,
    MAX_VALUES,
    TextLength,
    _Walk,
    look,
)


def fields_of(value: Any) -> list[dict[str, Any]]:
    """One object for each record: full name -> value."""
    return [
        {f"{where}.{name}" if name else where: item for name, item in zip(names, values, strict=True)}
        for (where, names, _), values in look(value, "input")
    ]


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Flower:
    sepal: float
    petal: float


@pytest.mark.parametrize(
    ("value", "records"),
    [
        (
            {"a": 1.5, "b": None, "c": True, "d": "x"},
            [{"input.a": 1.5, "input.b": None, "input.c": True, "input.d": "x"}],
        ),
        ({"user": {"age": 3, "home": {"city": "Oslo"}}}, [{"input.user.age": 3, "input.user.home.city": "Oslo"}]),
        ([5.1, 3.5], [{"input.0": 5.1, "input.1": 3.5}]),
        ({"values": [1, 2]}, [{"input.values.0": 1, "input.values.1": 2}]),
        ([{"a": 1}, {"a": 2}], [{"input.a": 1}, {"input.a": 2}]),
        ([[1, 2], [3, 4]], [{"input.0": 1, "input.1": 2}, {"input.0": 3, "input.1": 4}]),
        (
            {"instances": [{"a": 1}, {"a": 2}], "id": 7},
            [{"input.instances.a": 1}, {"input.instances.a": 2}, {"input.id": 7}],
        ),
        (["red", "blue"], [{"input": "red"}, {"input": "blue"}]),
        ([1.0, "red", None], [{"input.0": 1.0, "input.1": "red", "input.2": None}]),
        (0.5, [{"input": 0.5}]),
        ("yes", [{"input": "yes"}]),
        (None, [{"input": None}]),
        ((1, 2), [{"input.0": 1, "input.1": 2}]),
        ({"kind": Color.RED, "price": Decimal("1.5")}, [{"input.kind": "red", "input.price": 1.5}]),
        (Flower(1.0, 2.0), [{"input.sepal": 1.0, "input.petal": 2.0}]),
        (
            {"prediction": "setosa", "probabilities": {"setosa": 0.75, "virginica": 0.25}},
            [{"input.label": "setosa", "input.confidence": 0.75}],
        ),
        (np.array([1.0, 2.0]), [{"input.0": 1.0, "input.1": 2.0}]),
        (np.array([[1, 2], [3, 4]]), [{"input.0": 1, "input.1": 2}, {"input.0": 3, "input.1": 4}]),
        ({"score": np.float64(0.5)}, [{"input.score": 0.5}]),
        (np.float32(0.5), [{"input": 0.5}]),
        (
            pd.DataFrame({"a": [1, 2], "b": ["x", None]}, dtype=object),
            [{"input.a": 1, "input.b": "x"}, {"input.a": 2, "input.b": None}],
        ),
        (pd.Series([1.0, 2.0]), [{"input.0": 1.0, "input.1": 2.0}]),
        (b"bytes", []),
        ({}, []),
        ([], []),
        (object(), []),
    ],
)
def test_the_fields_of_a_value(value: Any, records: list[dict[str, Any]]) -> None:
    assert fields_of(value) == records


def test_an_image_is_its_size_and_brightness() -> None:
    (found,) = fields_of(Image.new("RGB", (40, 20), "white"))
    assert found == {"input.width": 40, "input.height": 20, "input.brightness": 1.0}


def test_a_long_text_is_its_length() -> None:
    (found,) = fields_of({"text": "x" * (MAX_TEXT_CHARS + 1), "short": "x" * MAX_TEXT_CHARS})
    assert found == {"input.text": MAX_TEXT_CHARS + 1, "input.short": "x" * MAX_TEXT_CHARS}
    assert type(found["input.text"]) is TextLength


def test_what_the_handler_does_to_its_payload_afterwards_is_not_seen() -> None:
    payload = {"flat": 1, "nested": {"a": [1, 2]}}
    records = look(payload, "input")
    payload["flat"] = 2
    payload["nested"]["a"].clear()  # type: ignore[index]
    ((_, values),) = records
    assert values == (1, 1, 2)


def test_a_value_in_a_circle_ends() -> None:
    payload: dict[str, Any] = {"a": 1}
    payload["self"] = payload
    rows: list[Any] = []
    rows.append(rows)
    assert len(look(payload, "input")[0][1]) == MAX_DEPTH + 1
    assert look(rows, "input") == ()


def test_deep_payloads_are_looked_at_to_a_depth() -> None:
    payload: Any = 1
    for _ in range(500):
        payload = {"a": payload}
    assert look(payload, "input") == ()


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ({f"field{number}": number for number in range(10_000)}, MAX_FIELDS),
        ([{"a": 1}] * 10_000, MAX_ROWS),
        ([0.5] * 10_000, MAX_ELEMENTS),
        (np.zeros(100_000), MAX_ELEMENTS),
        (np.zeros((10_000, 4)), MAX_ROWS * 4),
        (np.zeros((10, 10_000)), MAX_ELEMENTS),
        (pd.DataFrame({"a": range(10_000)}), MAX_ROWS),
        ({str(key): {str(inner): 1.0 for inner in range(100)} for key in range(100)}, MAX_FIELDS),
        ([{str(key): 1.0 for key in range(200)}] * 1000, MAX_VALUES + 200),
    ],
)
def test_of_large_payloads_a_bounded_part_is_looked_at(value: Any, limit: int) -> None:
    assert 0 < sum(len(values) for _, values in look(value, "input")) <= limit


def test_rows_of_a_large_batch_are_taken_at_equal_distances() -> None:
    found = [record["input.a"] for record in fields_of([{"a": number} for number in range(6400)])]
    assert found == list(range(0, 6400, 100))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(json_values)
def test_any_json_value_becomes_scalars_with_a_name_each(value: Any) -> None:
    for (where, names, has_texts), values in look(value, "input"):
        assert where.startswith("input")
        assert len(names) == len(values)
        assert has_texts or not any(isinstance(item, str) for item in values)
        for item in values:
            assert item is None or isinstance(item, (bool, int, float, str))
            assert not isinstance(item, str) or len(item) <= MAX_TEXT_CHARS


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats() | st.none(), min_size=1), max_size=MAX_ROWS))
def test_a_batch_is_what_its_records_are_one_by_one(batch: list[dict[str, float | None]]) -> None:
    single = [record for row in batch for record in fields_of(row)]
    assert repr(fields_of(batch)) == repr(single)  # NaN is not equal to itself


def test_infinities_and_nan_are_values_like_others() -> None:
    (found,) = fields_of({"a": math.inf, "b": math.nan, "c": 10**400})
    assert (found["input.a"], found["input.c"]) == (math.inf, 10**400)
    assert math.isnan(found["input.b"])


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70)
_ITEMS = _LEAVES | st.lists(_LEAVES, max_size=4) | st.lists(st.floats(allow_nan=False), min_size=63, max_size=66)


@given(st.dictionaries(st.text(max_size=3), _ITEMS, max_size=4))
def test_the_short_way_finds_what_the_long_way_finds(payload: dict[str, Any]) -> None:
    walk = _Walk()
    walk.see(payload, "input", 0)
    assert look(payload, "input") == tuple(walk.found)
