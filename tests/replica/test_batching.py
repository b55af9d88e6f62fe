"""Several requests answered by one call: who joins, whose result is whose, and what stays one request's own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatchway.contract import CONTROL_METRICS
from hatchway.replica.batching import BadBatch, one_by_one
from tests.replica.running import Answer, Running, a_replica

# `release` lets the batch that waits go on: so a test decides what comes while one runs.
HELD = """
class Handler:
    def __init__(self, config):
        self.fifo = config["fifo"]

    {async_}def handle_post(self, payload):
        print("batch", payload)
        if "hold" in payload:
            {wait}
        return [item if item != "bad" else ValueError("this one is bad") for item in payload]
"""
SYNC = HELD.format(async_="", wait="open(self.fifo).read()")
ASYNC = HELD.format(
    async_="async ",
    wait="import asyncio; await asyncio.get_running_loop().run_in_executor(None, lambda: open(self.fifo).read())",
)


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


def release(fifo: str) -> None:
    with open(fifo, "w") as file:
        file.write("go")


class Held:
    """A replica whose first batch is held, and the requests that came meanwhile."""

    def __init__(self, replica: Running, fifo: str, pool: ThreadPoolExecutor) -> None:
        self.replica = replica
        self._fifo = fifo
        self._pool = pool
        self._first = pool.submit(replica.post, "hold")
        self._until(lambda: bool(replica.messages(message="batch ['hold']")))
        self._waiting = 0

    def send(self, payload: Any, **headers: str) -> Any:
        """Returns the future of its answer, when it waits in the replica."""
        future = self._pool.submit(self.replica.post, payload, **headers)
        self._waiting += 1
        self.replica.until(queued=self._waiting)
        return future

    def gone(self) -> None:
        """One that was sent has left."""
        self._waiting -= 1
        self.replica.until(queued=self._waiting)

    def release(self) -> None:
        release(self._fifo)
        assert self._first.result().text == "hold"

    def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            assert self.replica.process.poll() is None, self.replica.raw_log()


def batches_of(replica: Running) -> list[str]:
    return [message for message in replica.messages() if message.startswith("batch ")]


@pytest.fixture(params=["sync", "async"])
def source(request: pytest.FixtureRequest) -> str:
    return SYNC if request.param == "sync" else ASYNC


def test_what_comes_while_one_runs_is_the_next_batch(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=3, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        sent = [held.send(number) for number in range(5)]
        held.release()
        assert [future.result().json() for future in sent] == [0, 1, 2, 3, 4]
        assert batches_of(replica) == ["batch ['hold']", "batch [0, 1, 2]", "batch [3, 4]"]


def test_sizes_and_waits_are_measured(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=3, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        sent = [held.send(number) for number in range(4)]
        held.release()
        assert [future.result().json() for future in sent] == [0, 1, 2, 3]
        found = {metric["name"]: metric for metric in replica.control(CONTROL_METRICS).json()["metrics"]}
        size, wait = found["hatchway_batch_size"], found["hatchway_batch_wait_seconds"]
        assert (sum(size["buckets"]), size["value"]) == (3, 5)  # batches of 1, 3 and 1
        assert sum(wait["buckets"]) == 5
        assert wait["value"] > 0


def test_an_exception_for_one_is_only_that_ones_error(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=8, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        before, bad, after = held.send(1), held.send("bad", x_request_id="bad-one"), held.send(3)
        held.release()
        assert (before.result().json(), after.result().json()) == (1, 3)
        assert bad.result().status == 500
        (record,) = replica.records(request_id="bad-one", level="ERROR")
        assert "this one is bad" in record["message"]


def test_a_payload_that_cannot_be_read_does_not_join(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=8, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        good = held.send(1)
        broken = pool.submit(replica.request, "POST", "/", b"{", {"content-type": "application/json"})
        replica.until(queued=2)
        held.release()
        assert good.result().json() == 1
        assert broken.result().status == 400
        assert batches_of(replica)[1:] == ["batch [1]"]


def test_one_that_left_never_runs(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=8, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        with replica.connect() as sock:
            body = json.dumps("gone").encode()
            head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            sock.sendall(head % len(body) + body)
            replica.until(queued=1)
        replica.until(queued=0)
        good = held.send(1)
        held.release()
        assert good.result().json() == 1
        assert batches_of(replica)[1:] == ["batch [1]"]


def test_one_that_leaves_while_it_runs_does_not_disturb_the_others(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=8, batch_max_wait_s=60.0, config={"fifo": fifo}) as replica:
        body = json.dumps("hold").encode()
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        with ThreadPoolExecutor(16) as pool:
            others = [pool.submit(replica.post, number) for number in range(7)]
            replica.until(queued=7)
            with replica.connect() as sock:
                sock.sendall(head % len(body) + body)  # the eighth: now the batch is full
                replica.until(in_flight=8)
            release(fifo)
            assert sorted(future.result().json() for future in others) == list(range(7))


ENDLESS = """
import asyncio

class Handler:
    async def handle_post(self, payload):
        print("begun", len(payload))
        try:
            if "hold" in payload:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("cancelled")
            raise
        return payload
"""


def test_an_async_batch_is_cancelled_when_all_have_left() -> None:
    body = json.dumps("hold").encode()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    with a_replica(ENDLESS, batch_max_size=2, batch_max_wait_s=60.0, timeout_s=0) as replica:
        with replica.connect() as first, replica.connect() as second:
            for sock in (first, second):
                sock.sendall(head % len(body) + body)
            replica.until(in_flight=2)
        replica.until(in_flight=0)
        assert replica.messages(stream="stdout") == ["begun 2", "cancelled"]
        assert replica.messages(level="ERROR") == []


def test_an_async_batch_is_cancelled_when_all_have_run_out_of_time() -> None:
    with a_replica(ENDLESS, batch_max_size=2) as replica:
        assert replica.post("hold", x_request_timeout="0.2").status == 504
        replica.until(in_flight=0)
        assert replica.post("next").text == "next"
        assert replica.messages(stream="stdout") == ["begun 1", "cancelled", "begun 1"]
        assert replica.messages(level="ERROR") == []


def test_whose_time_is_up_gets_a_504_and_the_others_their_answers(source: str, fifo: str) -> None:
    with a_replica(source, batch_max_size=2, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        impatient = pool.submit(replica.post, "late", x_request_timeout="0.2")
        assert impatient.result().status == 504
        good = held.send(1)
        held.release()
        assert good.result().json() == 1
        assert batches_of(replica)[1:] == ["batch [1]"]


def test_a_fuller_batch_is_waited_for_only_when_asked(source: str, fifo: str) -> None:
    fields = {"batch_max_size": 3, "batch_max_wait_s": 60.0, "config": {"fifo": fifo}}
    with a_replica(source, **fields) as replica, ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(replica.post, 1), pool.submit(replica.post, 1)]
        replica.until(queued=2)
        assert batches_of(replica) == []
        sent.append(pool.submit(replica.post, 1))
        assert [future.result().json() for future in sent] == [1, 1, 1]
        assert batches_of(replica) == ["batch [1, 1, 1]"]


def test_the_wait_for_a_fuller_batch_ends(source: str, fifo: str) -> None:
    fields = {"batch_max_size": 3, "batch_max_wait_s": 0.05, "config": {"fifo": fifo}}
    with a_replica(source, **fields) as replica, ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            assert replica.post(1).json() == 1
        sent = [pool.submit(replica.post, number) for number in range(8)]
        assert [future.result().json() for future in sent] == list(range(8))


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("payload + payload", "the method returned 2 results for a batch of 1 payloads"),
        ("{'a': 1}", "the method returned dict for a batch of 1"),
        ("None", "the method returned NoneType for a batch of 1"),
        ("'a'", "the method returned str for a batch of 1"),
    ],
)
def test_what_is_not_one_result_for_each_is_an_error_for_all(returned: str, says: str) -> None:
    with a_replica(f"def predict(payload):\n    return {returned}\n", batch_max_size=4) as replica:
        answer = replica.post(1, x_request_id="one")
        assert (answer.status, answer.error["kind"]) == (500, "internal_error")
        (record,) = replica.records(request_id="one", level="ERROR")
        assert says in record["message"]


def test_what_the_method_raises_is_everybodys_error_and_logged_once(fifo: str) -> None:
    source = SYNC.replace("return [", "raise KeyError('lost') if 1 in payload else None\n        return [")
    source = source.replace("raise KeyError('lost') if 1 in payload else None", "assert 1 not in payload, 'no ones'")
    with a_replica(source, batch_max_size=8, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        first, second = held.send(1, x_request_id="first"), held.send(2, x_request_id="second")
        held.release()
        assert (first.result().status, second.result().status) == (500, 500)
        (own,) = replica.records(request_id="first", level="ERROR")
        (other,) = replica.records(request_id="second", level="ERROR")
        assert "Traceback" in own["message"]
        assert other["message"] == "failed in one batch with the request first: AssertionError"


def test_an_error_that_cannot_be_told_ends_no_thread(fifo: str) -> None:
    source = SYNC.replace(
        "class Handler:",
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError('no words')\n\nclass Handler:",
    ).replace("return [", "if 1 in payload:\n            raise Mute\n        return [")
    with a_replica(source, batch_max_size=8, config={"fifo": fifo}) as replica, ThreadPoolExecutor(16) as pool:
        held = Held(replica, fifo, pool)
        sent = [held.send(1), held.send(2)]
        held.release()
        assert [future.result().status for future in sent] == [500, 500]
        assert replica.post(3).json() == 3
        replica.until(in_flight=0)


def test_nobody_waits_for_the_work_that_another_left() -> None:
    """Two follow-ups need the one thread after each other; the answers of both are out before."""
    source = """
    import threading

    seen = threading.Event()

    def predict(payload):
        if payload == ["seen"]:
            seen.set()
            return [True]
        return [(p, lambda: seen.wait(20)) for p in payload]
    """
    fields = {"batch_max_size": 3, "batch_max_wait_s": 60.0, "max_concurrency": 2}
    with a_replica(source, **fields) as replica, ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(replica.post, number) for number in range(3)]
        assert sorted(future.result().json() for future in sent) == [0, 1, 2]


def test_every_argument_is_a_list() -> None:
    source = """
    def predict(payload, query_params, headers, request_id):
        return [
            {"payload": p, "query": q["a"], "header": h["x-a"], "id": i}
            for p, q, h, i in zip(payload, query_params, headers, request_id, strict=True)
        ]
    """
    with a_replica(source, batch_max_size=4) as replica:
        answer = replica.post(1, "/?a=2", x_a="3", x_request_id="4")
        assert answer.json() == {"payload": 1, "query": "2", "header": "3", "id": "4"}


def test_each_payload_is_of_the_type_in_the_list() -> None:
    source = """
    from dataclasses import dataclass

    @dataclass
    class Flower:
        petal: float

    def predict(payload: list[Flower]) -> list[float]:
        return [flower.petal * 2 for flower in payload]
    """
    with a_replica(source, batch_max_size=4) as replica:
        assert replica.post({"petal": 1.5}).json() == 3.0
        assert replica.post({"petal": "wide"}).status == 422


def test_arrays_are_stacked_with_those_of_their_shape(fifo: str) -> None:
    source = f"""
    import numpy as np

    def predict(payload: np.ndarray):
        print("shape", payload.shape)
        if payload.shape == (1, 1):
            open({fifo!r}).read()
        return payload.sum(axis=1)
    """
    with a_replica(source, batch_max_size=8) as replica, ThreadPoolExecutor(16) as pool:
        first = pool.submit(replica.post, [1])
        replica.until(in_flight=1, queued=0)
        sent = []
        for payload in ([1, 2], [1, 2, 3], [3, 4]):
            sent.append(pool.submit(replica.post, payload))
            replica.until(queued=len(sent))
        release(fifo)
        assert [future.result().json() for future in (first, *sent)] == [1, 3, 6, 7]
        assert [message for message in replica.messages() if message.startswith("shape")] == [
            "shape (1, 1)",
            "shape (2, 2)",
            "shape (1, 3)",
        ]


def test_forms_join_batches() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    with a_replica("def predict(payload):\n    return [p['a'] for p in payload]\n", batch_max_size=4) as replica:
        assert replica.request("POST", "/", b"a=7", form).text == "7"


def test_work_after_the_answer() -> None:
    source = "def predict(payload):\n    return [(p, lambda p=p: print('later', p)) for p in payload]\n"
    with a_replica(source, batch_max_size=4) as replica:
        assert replica.post(1).json() == 1
        while not replica.messages(message="later 1"):
            assert replica.process.poll() is None


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "class Handler:\n    def handle_post(self, payload): ...\n    def handle_get(self): ...\n",
            "class Handler in handler.py answers handle_post and handle_get; with handler.batching it has one method",
        ),
        (
            "class Handler:\n    def predict(self, payload):\n        yield 1\n",
            "class Handler: predict (handler.py:2) is a generator; with handler.batching a method returns a list",
        ),
        (
            "async def predict(payload):\n    yield 1\n",
            "function predict (handler.py:1) is a generator; with handler.batching a method returns a list",
        ),
        (
            "def predict(payload: dict[str, int]): ...\n",
            "function predict (handler.py:1) annotates its payload as dict[str, int]; with handler.batching it gets a "
            "list (annotate it as list[dict[str, int]], or as numpy.ndarray to get arrays stacked)",
        ),
    ],
)
def test_handlers_that_cannot_answer_batches(source: str, says: str) -> None:
    with Running({"handler.py": source}, {"batch_max_size": 4}, wait_ready=False) as replica:
        assert replica.ended() == 70
        words = replica.last_words()
        assert (words.reason, words.message) == ("BadSignature", says)


ECHO = """
class Handler:
    def handle_post(self, payload):
        print("size", len(payload))
        if any(p["poison"] for p in payload):
            return [RuntimeError("poison") if p["poison"] else p["id"] for p in payload]
        return [p["id"] for p in payload]
"""


@pytest.fixture(scope="module")
def echo() -> Any:
    with a_replica(ECHO, batch_max_size=8, max_queue_length=1000) as replica:
        yield replica


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(["good", "poison", "cancel"]), min_size=1, max_size=8), max_size=12))
def test_everyone_gets_their_own_answer(echo: Running, clients: list[list[str]]) -> None:
    """Any arrival pattern: each client sends its requests one after the other, all clients at once."""
    wrong: list[str] = []

    def run(client: int) -> None:
        for step, kind in enumerate(clients[client]):
            identity = f"{client}-{step}"
            if kind == "cancel":
                body = json.dumps({"id": identity, "poison": False}).encode()
                with echo.connect() as sock:
                    sock.sendall(
                        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                        b"content-length: %d\r\n\r\n%b" % (len(body), body)
                    )
                continue
            answer: Answer = echo.post({"id": identity, "poison": kind == "poison"})
            expected = 500 if kind == "poison" else 200
            if answer.status != expected or (expected == 200 and answer.text != identity):
                wrong.append(f"{identity}: {answer}")

    threads = [threading.Thread(target=run, args=(client,)) for client in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    echo.until(in_flight=0, queued=0)


def test_batches_grow_under_load(echo: Running) -> None:
    before = len(echo.messages())
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: echo.post({"id": n, "poison": False}), range(400)))
    sizes = [int(message.split()[1]) for message in echo.messages()[before:] if message.startswith("size ")]
    assert sum(sizes) == 400
    assert max(sizes) > 1


def test_results_are_told_apart_as_lists_and_as_rows() -> None:
    assert one_by_one([1, "b"], 2) == [1, "b"]
    assert one_by_one((1, 2), 2) == [1, 2]
    assert [row.tolist() for row in one_by_one(np.array([[1, 2], [3, 4]]), 2)] == [[1, 2], [3, 4]]
    assert one_by_one(pd.Series([1.5, 2.5]), 2) == [1.5, 2.5]
    with pytest.raises(BadBatch, match="ndarray for a batch of 1"):
        one_by_one(np.array(3), 1)
