from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hatchway.contract import SampleTerms
from hatchway.replica.connection import ClientGone, Exchange, Sink
from hatchway.replica.sampling.sampler import FLUSH_AFTER_S, FLUSH_VALUES, MAX_LOG_BYTES, MAX_VALUES, Sampler


class Listening(Sink):
    """What a listener on the control socket got: one frame a line."""

    def __init__(self) -> None:
        self.received = b""
        self.reads = asyncio.Event()
        self.reads.set()
        self.has_more = asyncio.Event()

    def send(self, data: bytes) -> None:
        self.received += data
        self.has_more.set()

    async def writable(self) -> None:
        await self.reads.wait()

    def exchange_done(self, exchange: Exchange) -> None:
        self.has_more.set()

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.received.split(b"\n") if line.startswith(b"{")]

    async def frame(self, number: int = 1) -> dict[str, Any]:
        """The frame of this number, as soon as it is there."""
        while len(self.frames) < number:
            self.has_more.clear()
            await self.has_more.wait()
        return self.frames[number - 1]


class Bench:
    """A sampler, requests to it, and listeners."""

    def __init__(self) -> None:
        self.sampler = Sampler()
        self.sampler.open()
        self._tasks: list[asyncio.Task[None]] = []

    def request(self, payload: Any, result: Any = None, body: bytes = b"") -> None:
        is_sampled = self.sampler.takes()
        looks = self.sampler.look(payload, "input") + self.sampler.look(result, "output") if is_sampled else ()
        fields = {b"content-type": b"application/json"}
        call: Any = SimpleNamespace(request_id="r1", body=body, fields=fields, came_at=0.0, looks=looks)
        if is_sampled and self.sampler.logs:
            answer: Any = SimpleNamespace(
                status=200, content_type=b"application/json", body=json.dumps(result).encode()
            )
            self.sampler.log(call, answer)
        self.sampler.keep(call, is_sampled=is_sampled)

    def is_certain(self) -> bool:
        """Whether each request is looked at."""
        return all(self.sampler.takes() for _ in range(100))

    async def listen(self, **terms: Any) -> Listening:
        """Returns when it is listened to."""
        sink = Listening()
        exchange = Exchange(sink, "GET", b"/samples", [])
        exchange.supports_chunks = False
        self._tasks.append(asyncio.create_task(self._send(exchange, SampleTerms(**terms))))
        await sink.has_more.wait()
        return sink

    async def _send(self, exchange: Exchange, terms: SampleTerms) -> None:
        with contextlib.suppress(ClientGone, asyncio.CancelledError):
            await self.sampler.send(exchange, terms)

    async def leave(self) -> None:
        self._tasks[-1].cancel()
        await self._tasks[-1]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    await bench.end()


async def test_what_was_seen_before_somebody_listened_is_told_at_once(bench: Bench) -> None:
    bench.request({"age": 1}, {"label": "a"})
    bench.request({"age": 2}, {"label": "b"})
    frame = await (await bench.listen()).frame()
    assert (frame["seen"], frame["sampled"]) == (2, 2)
    assert frame["tables"]["input"] == {"count": 2, "columns": {"age": [1, 2]}}
    assert frame["tables"]["output"]["columns"] == {"label": ["a", "b"]}


async def test_the_warm_up_is_not_seen_though_somebody_listens_already(bench: Bench) -> None:
    bench.sampler = Sampler()
    sink = await bench.listen(log=True)
    bench.request({"a": 1})
    bench.sampler.open()
    bench.request({"a": 2})
    frame = await sink.frame()
    assert (frame["seen"], frame["sampled"], len(frame["log"])) == (1, 1, 1)


async def test_who_switched_it_off_before_the_start_is_heard(bench: Bench) -> None:
    bench.sampler = Sampler()
    await bench.listen(enabled=False)
    bench.sampler.open()
    assert not bench.sampler.takes()


async def test_each_request_is_told_once_and_nothing_while_there_is_nothing(bench: Bench) -> None:
    listener = await bench.listen()
    assert listener.frames == []
    bench.request(1)
    assert (await listener.frame(1))["tables"]["input"]["columns"] == {"": [1]}
    bench.request(2)
    assert (await listener.frame(2))["tables"]["input"]["columns"] == {"": [2]}


async def test_the_next_listener_gets_what_came_while_nobody_listened(bench: Bench) -> None:
    await bench.listen()
    await bench.leave()
    bench.request(1)
    assert (await (await bench.listen()).frame())["seen"] == 1


async def test_a_newer_listener_takes_the_place_of_the_one_before(bench: Bench) -> None:
    former = await bench.listen()
    newer = await bench.listen()
    bench.request(1)
    assert (await newer.frame())["seen"] == 1
    assert former.frames == []


async def test_terms_take_effect_on_what_is_kept_already(bench: Bench) -> None:
    bench.request({"email": "a@b", "age": 1})
    frame = await (await bench.listen(redact=["email"])).frame()
    assert frame["tables"]["input"]["columns"] == {"age": [1]}


async def test_nothing_is_looked_at_where_it_is_switched_off(bench: Bench) -> None:
    bench.request(1)
    await bench.listen(enabled=False)
    bench.request(2)
    assert not bench.sampler.takes()
    await bench.leave()
    listener = await bench.listen()
    bench.request(3)
    frame = await listener.frame()
    assert (frame["sampled"], frame["tables"]["input"]["columns"]) == (1, {"": [3]})


async def test_where_nobody_is_expected_nothing_is_looked_at_until_somebody_comes(bench: Bench) -> None:
    bench.sampler = Sampler(is_on=False)
    bench.sampler.open()
    assert not bench.sampler.takes()
    listener = await bench.listen()
    bench.request(1)
    assert (await listener.frame())["sampled"] == 1


async def test_nothing_to_tell_when_it_is_time_holds_nobody_up(bench: Bench) -> None:
    bench.request(1)
    await bench.listen(enabled=False)  # what was kept is gone, the time to tell it comes all the same
    await asyncio.sleep(FLUSH_AFTER_S)
    await bench.leave()
    listener = await bench.listen()
    bench.request(2)
    assert (await listener.frame())["tables"]["input"]["columns"] == {"": [2]}


async def test_a_share_of_the_requests_is_looked_at_and_all_are_counted(bench: Bench) -> None:
    listener = await bench.listen(sample_rate=0.5)
    for _ in range(2000):
        bench.request(1)
    frame = await listener.frame()
    assert frame["seen"] == 2000
    assert 800 < frame["sampled"] < 1200  # 9 standard deviations


async def test_of_many_requests_a_second_some_are_looked_at_and_of_few_all(bench: Bench) -> None:
    listener = await bench.listen()
    for number in range(FLUSH_VALUES):
        bench.request(number)
    assert (await listener.frame(1))["sampled"] == FLUSH_VALUES  # nobody knew that so many would come
    await asyncio.sleep(0)  # what is sent has been sent
    for number in range(FLUSH_VALUES):
        bench.request(number)
    while not bench.is_certain():  # noqa: ASYNC110 (what the timer does is not told to anybody)
        await asyncio.sleep(0.05)
    bench.request(1)
    counts = [(await listener.frame(number))["seen"] for number in range(2, len(listener.frames) + 1)]
    sampled = sum(frame["sampled"] for frame in listener.frames[1:])
    assert sampled < FLUSH_VALUES / 2
    assert sum(counts) <= FLUSH_VALUES + 1


async def test_the_log_has_all_of_many(bench: Bench) -> None:
    listener = await bench.listen(log=True)
    for number in (1, 2):
        for _ in range(FLUSH_VALUES):
            bench.request(1)
        assert (await listener.frame(number))["sampled"] == FLUSH_VALUES


async def test_all_are_counted_also_where_none_is_looked_at(bench: Bench) -> None:
    listener = await bench.listen(sample_rate=0)
    for _ in range(3):
        bench.request(1)
    frame = await listener.frame()
    assert (frame["seen"], frame["sampled"], frame["tables"]) == (3, 0, {})


async def test_what_was_thinned_out_is_missing_in_the_log_and_counted(bench: Bench) -> None:
    await bench.listen(log=True)
    await bench.leave()
    rows = MAX_VALUES // 64 + 1
    for _ in range(2 * rows):
        bench.request([[1.0] * 64])
    frame = await (await bench.listen(log=True)).frame()
    assert frame["sampled"] < 2 * rows
    assert len(frame["log"]) + frame["log_dropped"] == 2 * rows


async def test_without_a_listener_what_is_kept_is_bounded_and_every_time_is_kept_alike(bench: Bench) -> None:
    count = 4 * MAX_VALUES
    for number in range(count):
        bench.request(number)
    frame = await (await bench.listen()).frame()
    kept = frame["tables"]["input"]["columns"][""]
    assert frame["seen"] == count
    assert len(kept) <= MAX_VALUES
    assert len(kept) > MAX_VALUES / 8
    halves = [sum(number < count / 2 for number in kept), sum(number >= count / 2 for number in kept)]
    assert abs(halves[0] - halves[1]) < 0.1 * len(kept)


async def test_new_shapes_without_end_are_bounded_too(bench: Bench) -> None:
    for number in range(MAX_VALUES // 4):
        bench.request({f"field{number}": number})
    assert len(bench.sampler._groups) <= MAX_VALUES / 16


async def test_what_cannot_be_packed_is_lost_and_not_tried_for_ever(bench: Bench) -> None:
    torn = (("output", ("a", "b"), False), (1,))  # of a dictionary that another thread changed while it was looked at
    call: Any = SimpleNamespace(looks=(torn,))
    bench.sampler.keep(call, is_sampled=True)
    with pytest.raises(ValueError, match="zip"):
        bench.sampler._pack()
    bench.request({"a": 1})
    assert (await (await bench.listen()).frame())["tables"]["input"]["columns"] == {"a": [1]}


async def test_long_names_do_not_fill_the_memory(bench: Bench) -> None:
    for number in range(100):
        long = f"{number}" + "x" * 100_000
        bench.request({long: number, "a": 1})
        bench.request({long: [{"a": 1}], "b": {long: 1}})
    kept = sum(len(where) + sum(map(len, names)) for where, names, _ in bench.sampler._groups)
    assert kept < 100_000
    assert (await (await bench.listen()).frame())["tables"]["input"]["columns"] == {"a": [1] * 100}


async def test_a_value_that_cannot_be_looked_at_harms_nobody(bench: Bench) -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no")

    bench.request(Hostile(a=1))
    frame = await (await bench.listen()).frame()
    assert (frame["seen"], frame["failed"]) == (1, 1)


async def test_tables_are_looked_at_now_and_then_and_arrays_each_time(bench: Bench) -> None:
    for _ in range(5):
        bench.request(np.array([1.0]), pd.DataFrame({"a": [1]}))
    tables = (await (await bench.listen()).frame())["tables"]
    assert (tables["input"]["count"], tables["output"]["count"]) == (5, 1)


async def test_the_log_tells_of_each_request_without_what_is_redacted(bench: Bench) -> None:
    listener = await bench.listen(log=True, redact=["email"])
    bench.request({"email": "a@b", "age": 1}, {"label": "x"}, body=b'{"email": "a@b", "age": 1}')
    (entry,) = (await listener.frame())["log"]
    assert json.loads(entry["input"]) == {"age": 1}
    assert json.loads(entry["output"]) == {"label": "x"}
    assert (entry["request_id"], entry["input_bytes"]) == ("r1", 26)
    assert entry["latency_s"] > 0
    assert b"a@b" not in listener.received


async def test_what_redaction_cannot_read_is_not_told(bench: Bench) -> None:
    listener = await bench.listen(log=True, redact=["email"])
    bench.request(b"", body=b"email=a@b")
    assert (await listener.frame())["log"][0]["input"] is None


async def test_what_is_nested_too_deeply_to_be_redacted_is_not_told(bench: Bench) -> None:
    listener = await bench.listen(log=True, redact=["email"])
    bench.request(b"", body=b"[" * 1000 + b"]" * 1000)
    assert (await listener.frame())["log"][0]["input"] is None


async def test_what_the_log_has_no_room_for_is_counted(bench: Bench) -> None:
    listener = await bench.listen(log=True)
    listener.reads.clear()
    body = json.dumps("x" * 200_000).encode()
    bench.request(1)
    await listener.frame(1)
    count = 2 * MAX_LOG_BYTES // len(body)
    for _ in range(count):
        bench.request(1, body=body)
    listener.reads.set()
    frame = await listener.frame(2)
    assert frame["log_dropped"] > 0
    assert len(frame["log"]) + frame["log_dropped"] == count
