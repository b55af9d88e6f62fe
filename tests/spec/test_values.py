from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.spec.values import (
    MAX_SECONDS,
    Filled,
    Rule,
    Wrong,
    byte_size,
    cores,
    duration,
    flag,
    format_bytes,
    format_duration,
    format_rate,
    parse_bytes,
    parse_duration,
    rate,
    read_scalar,
    share,
    typed,
    whole,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("100ms", 0.1),
        ("0.1s", 0.1),
        ("1d", 86400),
        ("1h2m3s4ms", 3723.004),
        (30, 30),
        (0.5, 0.5),
        ("30", 30),
        (Filled("2"), 2),
        (Filled("2m"), 120),
    ],
)
def test_a_duration_is_read_in_seconds(written: Any, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "s", "3x", "-1s", "1 s", "s1", "1h-2m", "366d", "1e3s", -1, True, None, [], {}]
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(Wrong):
        parse_duration(written)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (30, "30s"), (300, "5m"), (5400, "1h30m"), (0.1, "100ms"), (1.5, "1s500ms"), (86400, "1d")],
)
def test_a_duration_is_written_as_people_do(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


@given(st.floats(0, MAX_SECONDS, allow_nan=False))
def test_a_written_duration_reads_back_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512Mi", 512 * 1024**2),
        ("2G", 2 * 1000**3),
        ("1.5Gi", 1536 * 1024**2),
        ("1k", 1000),
        ("1K", 1000),
        ("1Ti", 1024**4),
        ("1048576", 1048576),
        (1048576, 1048576),
        (1e6, 1000000),
    ],
)
def test_a_quantity_is_read_in_bytes(written: Any, size: int) -> None:
    assert parse_bytes(written) == size


@pytest.mark.parametrize("written", ["", "Mi", "-1Mi", "1.0001Ki", 0.5, -1, True, None, "9" * 30, "99999999T"])
def test_what_is_no_quantity_is_refused(written: Any) -> None:
    with pytest.raises(Wrong):
        parse_bytes(written)


@pytest.mark.parametrize(("written", "note"), [("512mb", "write 512M"), ("2GB", "write 2G"), ("1 gib", "write 1Gi")])
def test_a_near_quantity_is_answered_with_the_right_one(written: str, note: str) -> None:
    with pytest.raises(Wrong) as wrong:
        parse_bytes(written)
    assert wrong.value.note == note


@given(st.integers(0, 2**63 - 1))
def test_a_written_quantity_reads_back_as_the_same(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


@pytest.mark.parametrize(("written", "count"), [("200m", 0.2), (1, 1), (0.5, 0.5), ("0.5", 0.5), (Filled("2"), 2)])
def test_cores_are_read(written: Any, count: float) -> None:
    assert cores.read(written) == count


@pytest.mark.parametrize("written", ["19m", 0.01, 0, -1, "1 core", True, None])
def test_what_is_no_number_of_cores_is_refused(written: Any) -> None:
    with pytest.raises(Wrong):
        cores.read(written)


@pytest.mark.parametrize(
    ("written", "read"), [("25%", "25%"), ("0%", "0%"), ("100%", "100%"), (2, 2), (Filled("3"), 3)]
)
def test_a_share_is_a_number_or_a_percentage(written: Any, read: int | str) -> None:
    assert share.read(written) == read


@pytest.mark.parametrize("written", ["101%", "-1%", "1.5%", "%", "25", -1, 1.5, True, None])
def test_what_is_no_share_is_refused(written: Any) -> None:
    with pytest.raises(Wrong):
        share.read(written)


@pytest.mark.parametrize("rule", [whole(0), cores, share, byte_size("1")])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, -(10**400)])
def test_numbers_beyond_all_bounds_are_refused(rule: Rule, value: float) -> None:
    with pytest.raises(Wrong):
        rule.read(value)


@pytest.mark.parametrize("written", ["true", 1, 0, None, "yes"])
def test_only_a_boolean_or_a_variable_that_looks_like_one_is_a_flag(written: Any) -> None:
    with pytest.raises(Wrong):
        flag.read(written)
    assert flag.read(True) is True
    assert flag.read(Filled("yes")) is True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("No", False),
        ("on", True),
        ("12", 12),
        ("-1_000", -1000),
        ("0x1F", 31),
        ("0b11", 3),
        ("1.5", 1.5),
        ("1e3", "1e3"),  # YAML 1.1 wants a point and a sign
        ("1.0e+3", 1000.0),
        ("0755", "0755"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2026-01-01", "2026-01-01"),
        ("iris", "iris"),
    ],
)
def test_a_scalar_is_read_as_it_looks(text: str, value: Any) -> None:
    found = read_scalar(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", [".inf", "-.inf", ".NaN", "9" * 400])
def test_numbers_that_json_cannot_carry_are_refused(text: str) -> None:
    with pytest.raises(Wrong):
        read_scalar(text)


def test_variables_anywhere_in_free_values_take_the_type_they_look_like() -> None:
    assert typed({"a": [Filled("1"), "1"], "b": Filled("yes")}) == {"a": [1, "1"], "b": True}


@pytest.mark.parametrize(("written", "found"), [("5%", 0.05), ("0.5%", 0.005), ("100%", 1), (0.1, 0.1), (0, 0), (1, 1)])
def test_a_rate_is_a_percentage_or_a_share_of_one(written: Any, found: float) -> None:
    assert rate.read(written) == found
    assert rate.read(format_rate(found)) == found


@pytest.mark.parametrize("written", [5, "5", "101%", "-1%", "5 %", "%", -0.1, True, None, "1e1%"])
def test_what_is_no_rate_is_refused(written: Any) -> None:
    with pytest.raises(Wrong):
        rate.read(written)


def test_a_rate_is_written_as_a_percentage() -> None:
    assert [format_rate(rate) for rate in (0.05, 0.005, 0.0, 1.0, 0.1)] == ["5%", "0.5%", "0%", "100%", "10%"]


def test_a_duration_may_have_an_upper_bound() -> None:
    rule = duration("10s", "1h")
    assert rule.read("1h") == 3600
    assert "from 10s to 1h" in rule.says
    with pytest.raises(Wrong):
        rule.read("61m")
