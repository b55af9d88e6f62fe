from __future__ import annotations

import collections
import dataclasses
import enum
import json
import subprocess
import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest

from hatchway.replica.serialise import NotSerialisable, to_json


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


class Model(pydantic.BaseModel):
    when: date
    score: float = pydantic.Field(serialization_alias="theScore")


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    a: int
    b: int


class Text(str):
    __slots__ = ()


NAN = float("nan")
BIG = 2**70

CASES: list[tuple[Any, Any]] = [
    (None, None),
    ({"a": [1, 2.5, "x", True]}, {"a": [1, 2.5, "x", True]}),
    ([NAN, float("inf")], [None, None]),
    (BIG, BIG),
    ({"n": BIG, "f": NAN, "p": Path("/x")}, {"n": BIG, "f": None, "p": "/x"}),
    ({1: "a", False: "b"}, {"1": "a", "false": "b"}),
    ({2.5: 1, None: 2, Colour.RED: 3, date(2026, 1, 2): 4}, {"2.5": 1, "null": 2, "red": 3, "2026-01-02": 4}),
    ({np.int64(3): np.float32(0.5)}, {"3": 0.5}),
    (np.float64(1.5), 1.5),
    (np.int8(7), 7),
    (np.bool_(True), True),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([1.0, NAN]), [1.0, None]),
    (np.asfortranarray([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([1, 2], dtype=">i4"), [1, 2]),
    (np.array(["a", "b"]), ["a", "b"]),
    (np.array([{"a": np.int64(1)}, None], dtype=object), [{"a": 1}, None]),
    (np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
    (np.array(5), 5),
    (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    (pd.Series([1.5, NAN]), [1.5, None]),
    (pd.Timestamp("2026-01-02 03:04"), "2026-01-02T03:04:00"),
    ([pd.NA, pd.NaT], [None, None]),
    (pd.Index([1, 2]), [1, 2]),
    (pd.Categorical(["a", "b"]), ["a", "b"]),
    (Point(1, Point(np.int64(2), {3})), {"x": 1, "y": {"x": 2, "y": [3]}}),
    (Model(when=date(2026, 1, 2), score=1.5), {"when": "2026-01-02", "theScore": 1.5}),
    ([Model(when=date(2026, 1, 2), score=1.5)], [{"when": "2026-01-02", "theScore": 1.5}]),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4, tzinfo=UTC), "03:04:00+00:00"),
    (timedelta(minutes=1), 60.0),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Decimal("1.50"), 1.5),
    (Decimal("NaN"), None),
    (Colour.RED, "red"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset("x"), ["x"]),
    (Pair(1, 2), [1, 2]),
    (Text("sub"), "sub"),
    (collections.deque([1]), [1]),
    (collections.OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    (range(3), [0, 1, 2]),
    ("\ud800", "\ud800"),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda value: type(value).__name__)
def test_what_models_return_has_a_json_form(value: Any, expected: Any) -> None:
    assert json.loads(to_json(value)) == expected


def looped() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "where", "type_name"),
    [
        ({"model": [1, object()]}, 'result["model"][1]', "object"),
        ({"a": {"b": b"bytes"}}, 'result["a"]["b"]', "bytes"),
        (Point(1, lambda: 1), 'result["y"]', "function"),
        ([1j], "result[0]", "complex"),
        ({("a", 1): 1}, "a key of result", "tuple"),
        ([int], "result[0]", "type"),
        (np.array([object()]), "result[0]", "object"),
    ],
)
def test_what_has_none_is_named_with_its_place(value: Any, where: str, type_name: str) -> None:
    with pytest.raises(NotSerialisable) as caught:
        to_json(value)
    assert (caught.value.where, caught.value.type_name) == (where, type_name)


@pytest.mark.parametrize("value", [iter([1]), map(str, [1]), {"items": zip([1], [2], strict=True)}])
def test_of_an_iterator_it_is_said_how_it_is_streamed(value: Any) -> None:
    with pytest.raises(NotSerialisable, match="be a generator that yields its items"):
        to_json(value)


def test_a_value_that_contains_itself_is_an_error() -> None:
    with pytest.raises(NotSerialisable, match="contains itself"):
        to_json(looped())


def test_no_library_of_the_users_is_imported() -> None:
    code = (
        "import sys, pathlib\n"
        "from hatchway.replica.serialise import to_json\n"
        "to_json({'p': pathlib.Path('/x'), 's': {1}})\n"
        "assert not {'numpy', 'pandas', 'pydantic'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
