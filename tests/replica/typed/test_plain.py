"""The validator for plain types by itself; test_values.py compares it with pydantic's."""

from __future__ import annotations

import dataclasses
from typing import Any, Union

import orjson
import pytest

from hatchway.errors import RequestError
from hatchway.replica.typed.plain import Plain


@dataclasses.dataclass
class Left:
    child: Union[Left, Right, int]  # noqa: UP007 (quoted names have no |)


@dataclasses.dataclass
class Right:
    child: Union[Left, Right, int]  # noqa: UP007


def nested(depth: int, leaf: Any) -> bytes:
    return b'{"child":' * depth + orjson.dumps(leaf) + b"}" * depth


def test_unions_within_unions_end_in_time() -> None:
    """Each level tries both members of the next: 2 ** 60 trials of a body of 700 bytes."""
    validator = Plain(Left | Right)
    with pytest.raises(RequestError) as caught:
        validator.from_json(nested(60, "no number"))
    assert caught.value.status == 422


def test_many_values_of_a_union_are_no_matter() -> None:
    values = Plain(list[Left | Right | None]).from_json(b"[" + b",".join([b'{"child":1}', b"null"] * 20_000) + b"]")
    assert values[:2] == [Left(1), None]
    assert len(values) == 40_000
