from __future__ import annotations

from typing import Any

import pytest

from hatchway.spec.logs import LogQuery, moment_text, parse_moment
from hatchway.spec.status import LogLine
from hatchway.spec.values import Wrong


def a_line(message: str, *, level: str = "INFO", request_id: str | None = None, time: str = "") -> LogLine:
    return LogLine(
        replica="iris-1", revision="r1", time=time, level=level, stream="stdout", message=message, request_id=request_id
    )


LINE = a_line("Out of memory: 3 GB", level="WARNING", request_id="q-1", time=moment_text(100.0))


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"level": "debug"}, True),
        ({"level": "warning"}, True),
        ({"level": "error"}, False),
        ({"text": "memory"}, True),
        ({"text": "out of"}, True),  # no capitals: any case
        ({"text": "Out of"}, True),
        ({"text": "Memory"}, False),
        ({"text": ".*"}, False),  # no pattern
        ({"text": "q-1"}, True),  # of the request
        ({"request_id": "q-1"}, True),
        ({"request_id": "q"}, False),
        ({"since": 100.0}, True),
        ({"since": 100.001}, False),
        ({"until": 100.0}, False),
        ({"until": 100.001}, True),
        ({"level": "warning", "text": "memory", "request_id": "other"}, False),
    ],
)
def test_a_line_fits_all_that_is_asked(wanted: dict[str, Any], fits: bool) -> None:
    assert LogQuery(**wanted).fits(LINE) is fits


@pytest.mark.parametrize(
    ("level", "fits"), [("fatal", True), ("CRITICAL", True), ("warn", False), ("whatever", False), ("error", True)]
)
def test_levels_of_other_names_have_their_place(level: str, fits: bool) -> None:
    assert LogQuery(level="error").fits(a_line("x", level=level)) is fits


@pytest.mark.parametrize(
    ("wanted", "needles"),
    [
        ({}, ()),
        ({"level": "info"}, ()),  # also what has no level
        ({"level": "error"}, (b"error", b"critical", b"fatal")),
        ({"text": "Memory"}, (b"memory",)),
        ({"text": 'a "quote"'}, ()),  # JSON escapes it
        ({"text": "Müll"}, ()),
        ({"text": "é", "level": "error"}, (b"error", b"critical", b"fatal")),
        ({"request_id": "q-1", "text": "x"}, (b"q-1",)),
    ],
)
def test_bytes_that_cannot_hold_a_wanted_line_are_known(wanted: dict[str, Any], needles: tuple[bytes, ...]) -> None:
    assert LogQuery(**wanted).needles() == needles


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10m", 400.0),
        ("1970-01-01T00:10:00", 600.0),
        ("1970-01-01T00:10:00Z", 600.0),
        ("1970-01-01T02:10+02:00", 600.0),
        ("1970-01-02", 86400.0),
    ],
)
def test_a_moment_is_an_age_or_a_time(written: str, seconds: float) -> None:
    assert parse_moment(written, now=1000.0) == seconds


@pytest.mark.parametrize("written", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_little_before_and_after_any_moment_is_a_time_too(written: str) -> None:
    moment = parse_moment(written, now=0.0)
    assert moment_text(moment - 60.0) < moment_text(moment) < moment_text(moment + 60.0)


@pytest.mark.parametrize("written", ["yesterday", "", "10 parsecs"])
def test_what_is_neither_is_wrong(written: str) -> None:
    with pytest.raises(Wrong):
        parse_moment(written, now=0.0)
