from __future__ import annotations

from typing import Any

import pytest

from hatchway.replica.sampling.redact import covers, hides, only, without

PAYLOAD = {"email": "a@b", "user": {"email": "c@d", "age": 1}, "rows": [{"email": "e@f", "n": [1, 2]}]}


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ([], PAYLOAD),
        (["email"], {"user": {"age": 1}, "rows": [{"n": [1, 2]}]}),
        (["user"], {"email": "a@b", "rows": [{"email": "e@f", "n": [1, 2]}]}),
        (["user.email", "rows.email", "rows.n.1"], {"email": "a@b", "user": {"age": 1}, "rows": [{"n": [1, None]}]}),
    ],
)
def test_what_is_left_without_fields(names: list[str], left: Any) -> None:
    assert without(PAYLOAD, names) == left


@pytest.mark.parametrize(
    ("value", "names", "left"),
    [
        (PAYLOAD, ["user.age", "rows.n"], {"user": {"age": 1}, "rows": [{"n": [1, 2]}]}),
        (PAYLOAD, ["nothing"], {}),
        ([1, 2], ["0"], [1, None]),
        ("text", ["a"], None),
    ],
)
def test_nothing_but_some_fields(value: Any, names: list[str], left: Any) -> None:
    assert only(value, names) == left


def test_a_key_with_a_dot_is_no_way_around() -> None:
    assert without({"user.email": 1, "user": {"email": 2}}, ["user.email"]) == {"user": {}}


def test_a_name_covers_what_is_below_it_and_nothing_beside_it() -> None:
    assert covers(["user"], "user.email")
    assert not covers(["user"], "username")
    assert not covers(["user.email"], "user")


def test_what_is_redacted_is_so_at_any_depth() -> None:
    assert without({"got": {"user": {"email": 1, "age": 2}}, "email": 3}, ["user.email"]) == {
        "got": {"user": {"age": 2}},
        "email": 3,
    }
    assert hides(["email"], "user.email.host")
    assert not any(hides(["email"], name) for name in ("emails", "e-mail", "user.email2"))
