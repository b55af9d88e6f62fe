"""Work that a handler leaves for after its answer."""

from __future__ import annotations

import os
from pathlib import Path

from tests.replica.running import Running, a_replica

HANDLER = """
import threading

class Handler:
    def __init__(self, config):
        self.fifo = config.get("fifo")
        self.thread = threading.get_ident()

    def handle_post(self, payload):
        return {"same_thread": threading.get_ident() == self.thread}, getattr(self, payload)

    async def handle_get(self):
        return "answered", self.later

    def handle_put(self):
        def items():
            yield "one"
            yield "two"
        return items(), self.note

    async def handle_patch(self, request_id):
        async def note():
            print(f"after {request_id}")
            if request_id == "3":
                raise ValueError("too late")
        return "answered", note

    def handle_delete(self):
        return object(), self.note

    def note(self):
        print("noted")

    def wait(self):
        with open(self.fifo) as fifo:
            print(f"read {fifo.read()}")

    def boom(self):
        raise ValueError("too late")

    async def later(self):
        print("awaited")
"""


def a_fifo(folder: Path) -> str:
    """A file whose reader waits until somebody writes to it: work that ends when the test says so."""
    path = str(folder / "fifo")
    os.mkfifo(path)
    return path


def release(fifo: str, text: str) -> None:
    with open(fifo, "w") as file:
        file.write(text)


def until_said(replica: Running, message: str) -> dict[str, str]:
    while not (found := replica.records(message=message)):
        assert replica.process.poll() is None, replica.raw_log()
    return found[0]


def test_it_runs_after_the_answer_and_beside_the_next_request(tmp_path: Path) -> None:
    fifo = a_fifo(tmp_path)
    with a_replica(HANDLER, config={"fifo": fifo}, max_concurrency=1) as replica:
        assert replica.post("wait", x_request_id="first").json() == {"same_thread": True}
        assert replica.post("note").json() == {"same_thread": True}
        release(fifo, "it")
        assert until_said(replica, "read it")["request_id"] == "first"
        until_said(replica, "noted")


def test_one_that_has_to_wait_keeps_its_slot(tmp_path: Path) -> None:
    fifo = a_fifo(tmp_path)
    with a_replica(HANDLER, config={"fifo": fifo}, max_concurrency=1) as replica:
        replica.post("wait")
        replica.post("note")
        assert replica.stats().in_flight == 1
        assert not replica.records(message="noted")
        release(fifo, "it")
        replica.until(in_flight=0)


def test_a_replica_that_is_told_to_go_finishes_it(tmp_path: Path) -> None:
    fifo = a_fifo(tmp_path)
    with a_replica(HANDLER, config={"fifo": fifo}) as replica:
        replica.post("wait")
        replica.terminate()
        until_said(replica, "draining")
        release(fifo, "last")
        assert replica.ended() == 0
        assert replica.records(message="read last")


def test_an_async_one_is_awaited() -> None:
    with a_replica(HANDLER) as replica:
        assert replica.request("GET", headers={"x-request-id": "a"}).text == "answered"
        assert until_said(replica, "awaited")["request_id"] == "a"


def test_they_run_in_the_order_of_their_answers_and_one_that_fails_holds_up_none() -> None:
    with a_replica(HANDLER, max_concurrency=1) as replica:
        for n in range(1, 6):
            assert replica.request("PATCH", headers={"x-request-id": str(n)}).status == 200
        replica.terminate()
        assert replica.ended() == 0
        assert replica.messages(stream="stdout") == [f"after {n}" for n in range(1, 6)]
        assert "ValueError: too late" in "".join(replica.messages(request_id="3", level="ERROR"))


def test_a_stream_may_have_one_too() -> None:
    with a_replica(HANDLER) as replica:
        assert replica.request("PUT").text == "onetwo"
        until_said(replica, "noted")


def test_its_failure_is_logged_under_the_request_and_the_slot_is_free(tmp_path: Path) -> None:
    with a_replica(HANDLER, max_concurrency=1) as replica:
        assert replica.post("boom", x_request_id="b").status == 200
        replica.post("note")
        until_said(replica, "noted")
        assert "ValueError: too late" in "".join(replica.messages(request_id="b", level="ERROR"))
        replica.until(in_flight=0)


def test_it_does_not_run_when_there_was_no_answer_to_follow() -> None:
    with a_replica(HANDLER, max_concurrency=1) as replica:
        assert replica.request("DELETE").status == 500
        replica.until(in_flight=0)
        replica.post("note", x_request_id="later")
        assert until_said(replica, "noted")["request_id"] == "later"


def test_it_does_not_run_for_a_caller_who_was_told_of_the_timeout_or_has_left(tmp_path: Path) -> None:
    fifo = a_fifo(tmp_path)
    source = f"""
    import time

    def predict(payload, request):
        if payload == "slow":
            open({fifo!r}).read()
        while payload == "left" and not request.client_gone:
            time.sleep(0.001)
        return "answered", lambda: print("after", payload)
    """
    request = b'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n"left"'
    with a_replica(source, max_concurrency=1) as replica:
        assert replica.post("slow", x_request_timeout="0.2").status == 504
        release(fifo, "go")
        replica.until(in_flight=0)
        with replica.connect() as sock:
            sock.sendall(request)
            replica.until(in_flight=1)
        replica.until(in_flight=0)
        assert replica.post("quick").status == 200
        until_said(replica, "after quick")
        assert replica.messages(stream="stdout") == ["after quick"]
