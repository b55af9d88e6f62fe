from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hatchway.backends.local import logs
from hatchway.backends.local.logs import ApiLogs, ReplicaLog
from hatchway.rotation import LogStream
from hatchway.spec.logs import LogQuery, moment_text
from hatchway.spec.status import LogLine

ALL = LogQuery()


@pytest.fixture
def api_logs(tmp_path: Path) -> ApiLogs:
    return ApiLogs(tmp_path)


def a_record(seconds: float, message: str, **more: str) -> str:
    return json.dumps({"time": moment_text(seconds), "level": "INFO", "stream": "stdout", "message": message, **more})


def write(log: ReplicaLog, *lines: str) -> None:
    for line in lines:
        log.stream.append(line)


async def a_line(lines: AsyncIterator[LogLine]) -> LogLine:
    return await anext(lines)


async def read(api_logs: ApiLogs, wanted: LogQuery = ALL, api: str = "iris") -> list[LogLine]:
    return [line async for line in api_logs.read(api, wanted, follow=False)]


async def messages(api_logs: ApiLogs, wanted: LogQuery = ALL) -> list[str]:
    return [line.message for line in await read(api_logs, wanted)]


async def test_lines_of_all_replicas_are_merged_by_time(api_logs: ApiLogs) -> None:
    write(api_logs.open("iris", "r1", "iris-a"), a_record(1, "one"), a_record(3, "three"))
    write(api_logs.open("iris", "r2", "iris-b"), a_record(2, "two"), a_record(4, "four"))
    write(api_logs.open("iris2", "r1", "iris2-c"), a_record(2, "of another API"))
    found = await read(api_logs)
    assert [(line.message, line.replica, line.revision) for line in found] == [
        ("one", "iris-a", "r1"),
        ("two", "iris-b", "r2"),
        ("three", "iris-a", "r1"),
        ("four", "iris-b", "r2"),
    ]


async def test_only_what_is_asked_for_is_told(api_logs: ApiLogs) -> None:
    write(api_logs.open("iris", "r1", "iris-a"), a_record(1, "old", request_id="x"), a_record(3, "new"))
    write(api_logs.open("iris", "r1", "iris-b"), a_record(2, "other", request_id="y"))
    assert await messages(api_logs, LogQuery(replica="iris-a")) == ["old", "new"]
    assert await messages(api_logs, LogQuery(since=2)) == ["other", "new"]
    assert await messages(api_logs, LogQuery(request_id="y")) == ["other"]


async def test_lines_that_are_no_records_are_messages_at_the_time_of_the_one_before(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    write(log, a_record(1, "one"), "Segmentation fault", '{"message": "the model\'s own JSON"}', "{broken", "[1]")
    found = await read(api_logs)
    assert [line.message for line in found] == [
        "one",
        "Segmentation fault",
        '{"message": "the model\'s own JSON"}',
        "{broken",
        "[1]",
    ]
    assert {line.time for line in found} == {moment_text(1)}


async def test_a_line_across_two_files_is_whole(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    log.stream = LogStream(log.path, max_file_bytes=10_000)
    write(log, *(a_record(number, f"{number} " + "x" * 100) for number in range(150)))
    assert log.stream.rotate()
    write(log, a_record(200, "last"))
    assert [message.split()[0] for message in await messages(api_logs)] == [*map(str, range(150)), "last"]


async def test_what_the_engine_says_is_in_the_log_too(api_logs: ApiLogs) -> None:
    api_logs.open("iris", "r1", "iris-a").say("ERROR", "it ended", 5.0)
    line = (await read(api_logs))[0]
    assert (line.level, line.stream, line.message, line.time) == ("ERROR", "replica", "it ended", moment_text(5.0))


async def test_following_tells_new_lines_of_old_and_new_replicas(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    write(log, a_record(1, "old"))
    lines = api_logs.read("iris", ALL, follow=True)
    async with asyncio.timeout(10):
        assert (await anext(lines)).message == "old"
        write(log, a_record(2, "new"))
        assert (await anext(lines)).message == "new"
        write(api_logs.open("iris", "r2", "iris-b"), a_record(3, "of a new replica"))
        assert (await anext(lines)).message == "of a new replica"


async def test_what_is_new_is_told_to_who_follows_though_it_has_no_time(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    write(log, a_record(1, "old"), a_record(5, "first that is wanted"))
    lines = api_logs.read("iris", LogQuery(since=3), follow=True)
    async with asyncio.timeout(10):
        assert (await anext(lines)).message == "first that is wanted"
        write(log, a_record(2, "late"), "of a library")
        assert [(await anext(lines)).message for _ in range(2)] == ["late", "of a library"]


async def test_following_goes_on_through_a_rotation(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    log.stream = LogStream(log.path, max_file_bytes=10_000)
    lines = api_logs.read("iris", ALL, follow=True)
    expected = []
    async with asyncio.timeout(20):
        for round in range(5):
            for number in range(60):
                expected.append(f"{round}.{number} " + "x" * 200)
                write(log, a_record(round * 1000 + number, expected[-1]))
            log.stream.rotate()
            for message in expected[-60:]:
                assert (await anext(lines)).message == message


async def test_an_unfinished_line_waits_for_its_end(api_logs: ApiLogs) -> None:
    log = api_logs.open("iris", "r1", "iris-a")
    text = a_record(1, "whole")
    log.path.write_text(text[:20])
    lines = api_logs.read("iris", ALL, follow=True)
    first = asyncio.create_task(a_line(lines))
    await asyncio.sleep(0)
    with log.path.open("a") as file:
        file.write(text[20:] + "\n")
    async with asyncio.timeout(10):
        assert (await first).message == "whole"


async def test_forgetting_an_api_deletes_its_logs_and_no_others(api_logs: ApiLogs) -> None:
    write(api_logs.open("iris", "r1", "iris-a"), a_record(1, "one"))
    write(api_logs.open("iris2", "r1", "iris2-a"), a_record(1, "other"))
    assert api_logs.forget("iris") > 0
    assert await read(api_logs) == []
    assert len(await read(api_logs, api="iris2")) == 1
    assert api_logs.forget("never seen") == 0


async def test_logs_of_replicas_that_are_gone_are_kept_within_a_limit(api_logs: ApiLogs) -> None:
    ids = [f"iris-{number:03d}" for number in range(logs.MAX_GONE_LOGS + 5)]
    for id in ids:
        write(api_logs.open("iris", "r1", id), a_record(1, id))
    api_logs.trim("iris", living=frozenset(ids[:2]))
    left = {log.replica_id for log in api_logs.of("iris")}
    assert len(left) == logs.MAX_GONE_LOGS + 2
    assert set(ids[:2]) <= left
