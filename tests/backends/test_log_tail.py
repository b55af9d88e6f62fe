"""The newest lines that fit are those that reading everything would tell, and far less is read for them."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hatchway.backends.local.log_reading import Cursor
from hatchway.backends.local.log_tail import newest
from hatchway.backends.local.logs import ApiLogs
from hatchway.rotation import LogStream
from hatchway.spec.logs import LONGEST_TOLD_CHARS, LogQuery, moment_text, newest_of, size_bytes
from hatchway.spec.status import LogLine

TICKS = 5_000


def a_record(seconds: float, message: str, level: str = "INFO") -> str:
    return json.dumps({"time": moment_text(seconds), "level": level, "stream": "stdout", "message": message})


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> ApiLogs:
    """A noisy replica, one that says something now and then, one that is long gone, one that wrote no records."""
    logs = ApiLogs(tmp_path_factory.mktemp("logs"))
    noisy, quiet, gone, plain = (logs.open("iris", "r1", f"iris-{name}") for name in ("n", "q", "g", "p"))
    noisy.stream = LogStream(noisy.path, max_file_bytes=200_000, kept_archives=10)
    for tick in range(TICKS):
        seconds = 1000 + tick / 10
        level = "ERROR" if tick % 1000 == 0 else "INFO"
        noisy.stream.append(a_record(seconds, f"noise {tick} " + "x" * (tick % 300), level))
        if tick % 100 == 50:
            quiet.stream.append(a_record(seconds + 0.01, f"quiet {tick}"))
        if tick % 2000 == 1999:
            noisy.stream.rotate()
    for tick in range(200):
        gone.stream.append(a_record(tick, f"gone {tick}"))
    plain.stream.append("Segmentation fault")
    return logs


async def read(logs: ApiLogs, query: LogQuery) -> list[LogLine]:
    return [line async for line in logs.read("iris", query, follow=False)]


@pytest.mark.parametrize("max_bytes", [20_000, 300_000, 10_000_000])
@pytest.mark.parametrize(
    "wanted",
    [
        *({}, {"until": 1200.0}, {"until": 150.0}, {"since": 1450.0}, {"since": 5000.0}, {"level": "error"}),
        *({"text": "quiet"}, {"text": "nowhere"}, {"replica": "iris-q"}, {"replica": "iris-p"}),
    ],
    ids=str,
)
async def test_they_are_the_end_of_what_reading_everything_tells(
    logs: ApiLogs, wanted: dict[str, object], max_bytes: int
) -> None:
    query = LogQuery(**wanted)  # type: ignore[arg-type]
    expected, _ = newest_of(await read(logs, query), max_bytes)
    found = await read(logs, dataclasses.replace(query, max_bytes=max_bytes))
    assert found == expected
    assert sum(map(size_bytes, found)) <= max_bytes


async def test_what_is_older_is_not_read(logs: ApiLogs) -> None:
    opened: list[Cursor] = []
    (log,) = (log for log in logs.of("iris") if log.replica_id == "iris-n")

    def open_at(key: str, position: int) -> Cursor:
        opened.append(Cursor(log.stream, "r1", key, LogQuery(), start=position))
        return opened[-1]

    await newest({"iris-n": log.stream.end()}, open_at, 20_000)
    assert len(opened) == 1
    assert opened[0].is_part


async def test_a_line_longer_than_the_first_look_is_told_with_its_length(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    logs = ApiLogs(tmp_path_factory.mktemp("long"))
    log = logs.open("iris", "r1", "iris-a")
    log.stream.append(a_record(1, "first"))
    log.stream.append(a_record(2, "y" * 500_000))
    first, long = await read(logs, LogQuery(max_bytes=200_000))
    assert first.message == "first"
    assert long.message == "y" * LONGEST_TOLD_CHARS + f" … and {500_000 - LONGEST_TOLD_CHARS:,} characters more"


async def test_output_without_records_has_the_time_of_the_record_before_it_however_far(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    logs = ApiLogs(tmp_path_factory.mktemp("raw"))
    log = logs.open("iris", "r1", "iris-a")
    log.stream = LogStream(log.path, max_file_bytes=200_000, kept_archives=10)
    log.stream.append(a_record(7, "first"))
    for number in range(6000):
        log.stream.append(f"raw output of a library, line {number} " + "z" * 60)
        if number % 2000 == 0:
            log.stream.rotate()
    found = await read(logs, LogQuery(max_bytes=20_000))
    assert {line.time for line in found} == {moment_text(7)}
    assert [line.message.split()[6] for line in found[-2:]] == ["5998", "5999"]
    assert found == newest_of(await read(logs, LogQuery()), 20_000)[0]
