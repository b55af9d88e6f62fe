from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.backends.local.log_reading import CHUNK_BYTES, Cursor, search
from hatchway.rotation import LogStream
from hatchway.spec.logs import LogQuery, moment_text

LINES = 5_000


def a_record(seconds: float, message: str, **more: str) -> str:
    return json.dumps({"time": moment_text(seconds), "level": "INFO", "stream": "stdout", "message": message, **more})


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> LogStream:
    """A line each second, in several files; each hundredth is an error with a line of a C library below it."""
    stream = LogStream(tmp_path_factory.mktemp("logs") / "iris.log", max_file_bytes=300_000, kept_archives=10)
    for second in range(LINES):
        text = a_record(second, f"at {second} " + "x" * 100)
        if second % 100 == 0:
            text = a_record(second, f"failed at {second}", level="ERROR", request_id=f"q-{second}")
        stream.append(text)
        if second % 100 == 0:
            stream.append(f"Segmentation fault {second}")
        if second % 1000 == 999:
            stream.rotate()
    assert len(stream.pieces()) > 2
    return stream


def read(stream: LogStream, query: LogQuery) -> list[str]:
    cursor = Cursor(stream, "r1", "iris-a", query)
    return [step.line.message.partition(" x")[0] for step in cursor.steps(cursor.end()) if step.line is not None]


def times(stream: LogStream, query: LogQuery) -> list[str]:
    cursor = Cursor(stream, "r1", "iris-a", query)
    return [step.line.time for step in cursor.steps(cursor.end()) if step.line is not None]


@given(since=st.integers(-10, LINES + 10), span=st.integers(0, 50))
def test_a_span_of_time_is_found_without_reading_all(stream: LogStream, since: int, span: int) -> None:
    query = LogQuery(since=since, until=since + span)
    seconds = range(max(since, 0), min(since + span, LINES))
    assert times(stream, query) == [
        moment_text(second) for second in seconds for _ in range(2 if second % 100 == 0 else 1)
    ]
    cursor = Cursor(stream, "r1", "iris-a", query)
    assert cursor.end() - cursor.position < 3 * CHUNK_BYTES


def test_where_a_time_begins_is_a_beginning_of_a_line(stream: LogStream) -> None:
    found = search(stream, moment_text(2500))
    for position in found:
        assert stream.read(position, 9)[0] == b'{"time": '


def test_what_is_passed_over_still_tells_the_time(stream: LogStream) -> None:
    assert read(stream, LogQuery(text="segmentation fault 4200")) == ["Segmentation fault 4200"]
    assert times(stream, LogQuery(text="segmentation fault 4200")) == [moment_text(4200)]


def test_few_of_many_lines_are_found(stream: LogStream) -> None:
    assert read(stream, LogQuery(level="error")) == [f"failed at {second}" for second in range(0, LINES, 100)]
    assert read(stream, LogQuery(request_id="q-1300")) == ["failed at 1300"]
    assert read(stream, LogQuery(request_id="q-13")) == []


def test_others_have_their_turn_though_nothing_is_found(stream: LogStream) -> None:
    cursor = Cursor(stream, "r1", "iris-a", LogQuery(text="nowhere"))
    steps = list(cursor.steps(cursor.end()))
    assert {step.line for step in steps} == {None}
    assert len(steps) >= stream.end() // CHUNK_BYTES
    assert [step.time for step in steps] == sorted(step.time for step in steps)


def test_a_log_without_any_record_is_read_whole(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "plain.log")
    for number in range(3000):
        stream.append(f"line {number} of a library " + "y" * 50)
    assert len(read(stream, LogQuery(since=0.0))) == 3000
    assert read(stream, LogQuery(since=stream.pieces()[-1].modified_at + 1)) == []


def test_what_was_rotated_away_before_it_was_read_is_said_and_no_line_is_put_together_of_halves(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "fast.log", max_file_bytes=10_000, kept_archives=1)
    for number in range(100):
        stream.append(a_record(number, f"early {number} " + "x" * 80))
    cursor = Cursor(stream, "r1", "iris-a", LogQuery())
    assert len([step for step in cursor.steps(5_000) if step.line is not None]) > 10
    for number in range(100, 1000):
        stream.append(a_record(number, f"late {number} " + "x" * 80))
        stream.rotate()
    messages = [step.line.message for step in cursor.steps(stream.end()) if step.line is not None]
    assert "bytes of this log were rotated away" in messages[0]
    assert messages[-1].startswith("late 999 ")
    assert all(message.startswith("late ") for message in messages[1:])


def test_the_end_of_a_line_that_was_rotated_away_is_not_told_as_a_line(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "old.log", max_file_bytes=10_000, kept_archives=1)
    for number in range(1000):
        stream.append(a_record(number, f"number {number} " + "x" * 80))
        stream.rotate()
    assert stream.pieces()[0].start > 0
    assert all(message.startswith("number ") for message in read(stream, LogQuery()))
    assert read(stream, LogQuery(text="number 999")) == ["number 999"]


def test_words_of_a_line_that_a_program_wrote_itself_are_not_longer_than_ours(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "own.log")
    stream.append(json.dumps({"time": "t" * 1000, "level": "l" * 1000, "message": "m", "request_id": "q" * 1000}))
    cursor = Cursor(stream, "r1", "iris-a", LogQuery())
    line = next(step.line for step in cursor.steps(cursor.end()))
    assert line is not None
    assert max(len(line.time), len(line.level), len(line.request_id or "")) <= 200


def test_a_record_behind_output_without_a_line_end_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "raw.log"
    record = '{"time":"2026-01-01T00:00:00.000Z","level":"ERROR","stream":"stderr","request_id":"q","message":"ours"}'
    path.write_text(f'{record}\nprogress 7%{record}\n{{"time":"half of one\n')
    cursor = Cursor(LogStream(path), "r1", "iris-a", LogQuery())
    lines = [step.line for step in cursor.steps(cursor.end()) if step.line is not None]
    told = [(line.message, line.level, line.request_id) for line in lines]
    assert told == [
        ("ours", "ERROR", "q"),
        ("progress 7%", "INFO", None),
        ("ours", "ERROR", "q"),
        ('{"time":"half of one', "INFO", None),
    ]
    assert read(LogStream(path), LogQuery(request_id="q")) == ["ours", "ours"]


def test_a_line_of_the_moment_is_found_though_the_clock_of_files_is_a_tick_behind(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "iris.log", max_file_bytes=300_000, kept_archives=1)
    stream.append(a_record(1000.0, "now"))
    os.utime(stream.live, (999.99, 999.99))
    assert read(stream, LogQuery(since=1000.0)) == ["now"]
