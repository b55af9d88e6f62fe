"""What a replica knows of a request that it answers, or has answered."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hatchway.contract import CONTROL_REQUESTS, FoundRequests, RequestRecord
from hatchway.replica.records import KEPT, KEPT_FOR_S, Record, Records, as_live, to_record
from tests.replica.running import Running, a_replica

HANDLER = """


class Handler:
    def __init__(self, config):
        self.fifo = config["fifo"]

    def handle_post(self, payload):
        if payload == "hold":
            open(self.fifo).read()
        if payload == "fail":
            raise ValueError("no")
        if payload == "stream":
            return (part for part in ("ab", "cde"))
        return payload
"""
APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/fail":
        raise ValueError("no")
    while (message := await receive()).get("more_body"):
        pass
    if scope["path"] == "/hold":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    await send({"type": "http.response.body", "body": b"de"})
"""
RECORD: Record = ("q", 10.0, 11.0, 13.0, 200, 5, 0, "answered", "POST", b"/x", b"2", b"1.5 3", None)


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


def find(replica: Running, request_id: str) -> list[RequestRecord]:
    return FoundRequests.from_json(replica.control(f"{CONTROL_REQUESTS}?id={quote(request_id)}").body).requests


def find_one(replica: Running, request_id: str, **wanted: object) -> RequestRecord:
    """As soon as there is one that has these values."""
    while True:
        for found in find(replica, request_id):
            if all(getattr(found, name) == value for name, value in wanted.items()):
                return found


def begin(replica: Running, pool: ThreadPoolExecutor, request_id: str, payload: Any, outcome: str) -> None:
    pool.submit(replica.post, payload, x_request_id=request_id)
    find_one(replica, request_id, outcome=outcome)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_a_record_tells_of_waiting_and_working() -> None:
    found = to_record(RECORD, offset_s=1000.0)
    assert (found.came_at, found.queue_s, found.handler_s) == (1010.0, 1.0, 2.0)
    assert (found.attempt, found.held_s, found.held_refusals, found.batch_size) == (2, 1.5, 3, None)


@pytest.mark.parametrize("held", [None, b"", b"nonsense", b"1.0", b"1 2 3", b"nan 1", b"inf 1"])
def test_who_was_not_held_has_no_such_time(held: bytes | None) -> None:
    found = to_record((*RECORD[:11], held, None), 0.0)
    assert (found.held_s, found.held_refusals) == (None, 0)


def test_numbers_that_no_gateway_writes_count_for_nothing() -> None:
    digits = b"9" * 5000
    found = to_record((*RECORD[:10], digits, b"1.0 " + digits, None), 0.0)
    assert (found.attempt, found.held_s, found.held_refusals) == (1, 1.0, 0)


def test_what_has_no_slot_yet_is_waiting() -> None:
    waiting = to_record(as_live((*RECORD[:2], 0.0, *RECORD[3:])), 0.0)
    assert (waiting.outcome, waiting.queue_s, waiting.handler_s) == ("waiting", 3.0, None)
    assert to_record(as_live(RECORD), 0.0).outcome == "running"


def test_fast_ones_push_each_other_out_but_not_what_went_wrong() -> None:
    records = Records()
    records.keep_notable(("bad", *RECORD[1:]))
    for number in range(KEPT):
        records.keep((f"q{number}", *RECORD[1:]))
    assert len(records.find("q0", ()).requests) == 1
    records.keep(("last", *RECORD[1:]))
    assert records.find("q0", ()).requests == []
    assert len(records.find("bad", ()).requests) == 1
    assert records.find("q1", ()).since is not None


def test_none_is_pushed_out_before_its_time() -> None:
    records = Records()
    assert records.open_at == 0.0
    for second in range(KEPT + 1):
        records.keep(("q", *RECORD[1:3], float(second), *RECORD[4:]))
    assert records.open_at == 1 + KEPT_FOR_S


def test_what_was_passed_over_is_not_said_to_be_known() -> None:
    records = Records()
    records.keep(RECORD)
    records.skipped_at = time.monotonic() - 5
    since = records.find("q", ()).since
    assert since is not None
    assert 4 < time.time() - since < 60


def test_while_all_are_there_nothing_is_said_of_a_limit() -> None:
    records = Records()
    records.keep(RECORD)
    assert records.find("other", ()) == FoundRequests([], None)


def test_a_request_is_told_from_its_queue_to_its_end(fifo: str, pool: ThreadPoolExecutor) -> None:
    with a_replica(HANDLER, config={"fifo": fifo}, max_queue_length=1) as replica:
        replica.post({"a": 1}, "/x?y=z", x_request_id="fine", x_envoy_attempt_count="2", x_hatchway_held="2.5 1")
        fine = find_one(replica, "fine", outcome="answered")
        assert (fine.outcome, fine.status, fine.method, fine.path) == ("answered", 200, "POST", "/x?y=z")
        assert (fine.attempt, fine.held_s, fine.held_refusals) == (2, 2.5, 1)
        assert fine.response_bytes == len('{"a":1}')
        assert find(replica, "never seen") == []

        replica.post("fail", x_request_id="bad")
        bad = find_one(replica, "bad", outcome="failed")
        assert (bad.outcome, bad.status) == ("failed", 500)

        replica.post("stream", x_request_id="stream")
        stream = find_one(replica, "stream", outcome="answered")
        assert (stream.outcome, stream.status) == ("answered", 200)
        assert stream.response_bytes >= len("abcde")

        begin(replica, pool, "runs", "hold", "running")
        waiting = replica.connect()
        waiting.sendall(b"POST / HTTP/1.1\r\nx-request-id: leaves\r\ncontent-length: 2\r\n\r\n{}")
        find_one(replica, "leaves", outcome="waiting")
        assert replica.post({}, x_request_id="many").status == 503
        refused = find_one(replica, "many")
        assert (refused.outcome, refused.status, refused.handler_s) == ("refused", 503, None)
        waiting.close()
        left = find_one(replica, "leaves", outcome="client_left")
        assert (left.status, left.handler_s) == (None, None)
        with open(fifo, "w") as file:
            file.write("go")
        done = find_one(replica, "runs", outcome="answered")
        assert done.handler_s is not None


def test_of_an_answer_to_head_no_byte_is_sent() -> None:
    with a_replica("class Handler:\n    def handle_get(self):\n        return 'text'\n") as replica:
        replica.request("HEAD", headers={"x-request-id": "head"})
        assert find_one(replica, "head", outcome="answered").response_bytes == 0


def test_who_ran_out_of_time_is_told_apart_from_who_never_had_a_slot(fifo: str, pool: ThreadPoolExecutor) -> None:
    with a_replica(HANDLER, config={"fifo": fifo}) as replica:
        begin(replica, pool, "slow", "hold", "running")
        assert replica.post({}, x_request_id="waited", x_request_timeout="0.05").status == 504
        waited = find_one(replica, "waited")
        assert (waited.outcome, waited.status, waited.handler_s) == ("timed_out", 504, None)
        assert waited.queue_s >= 0.05
        with open(fifo, "w") as file:
            file.write("go")


def test_of_a_batch_each_request_knows_the_size(fifo: str, pool: ThreadPoolExecutor) -> None:
    handler = HANDLER.replace('payload == "hold"', '"hold" in payload')
    with a_replica(handler, config={"fifo": fifo}, batch_max_size=4) as replica:
        begin(replica, pool, "first", "hold", "running")
        for name in ("second", "third"):
            begin(replica, pool, name, name, "waiting")
        with open(fifo, "w") as file:
            file.write("go")
        sizes = [find_one(replica, name, outcome="answered").batch_size for name in ("first", "second", "third")]
        assert sizes == [1, 2, 2]


def test_requests_of_applications_are_told_too() -> None:
    with Running({"main.py": APP}, {"app": "main:app"}) as replica:
        replica.request("GET", "/x", headers={"x-request-id": "fine"})
        fine = find_one(replica, "fine", outcome="answered")
        assert (fine.outcome, fine.status, fine.response_bytes, fine.path) == ("answered", 201, 5, "/x")
        replica.request("GET", "/fail", headers={"x-request-id": "bad"})
        assert find_one(replica, "bad", outcome="failed").status == 500
        client = replica.connect()
        client.sendall(b"GET /hold HTTP/1.1\r\nhost: x\r\nx-request-id: left\r\n\r\n")
        find_one(replica, "left", outcome="running")
        client.close()
        left = find_one(replica, "left", outcome="client_left")
        assert left.status is None
