from __future__ import annotations

import math

import pytest

from hatchway.gateway.activator.terms import Terms


@pytest.mark.parametrize("terms", [Terms("iris", 101, 60.0), Terms("a-b", 1, 0.25), Terms("iris", 5, math.inf)])
def test_what_is_written_is_read(terms: Terms) -> None:
    assert Terms.from_header(terms.to_header()) == terms


def test_a_timeout_that_is_switched_off_is_written_as_in_the_yaml() -> None:
    assert Terms("iris", 5, math.inf).to_header() == "iris;max_held=5;timeout_s=0"


@pytest.mark.parametrize("text", ["", "iris", "iris;max_held=5", "iris;max_held=x;timeout_s=1", "iris;;"])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing|invalid|sequence"):
        Terms.from_header(text)
