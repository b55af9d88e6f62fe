"""Handlers called over a real socket: arguments, verbs, streams, failures, deadlines, cancellation."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.replica.running import Answer, Running, UnixConnection, a_replica, read_all

HANDLER = """
import asyncio, dataclasses, logging, os, sys, threading, time
from pathlib import Path

class Handler:
    def __init__(self, config):
        self.config = config
        self.thread = threading.get_ident()

    def handle_post(self, payload, query_params, headers, request, request_id):
        return {
            "payload": payload, "q": query_params.get("q"), "all": query_params.getlist("q"),
            "agent": headers["User-AGENT"], "path": request.path, "method": request.method,
            "id": request_id, "same_thread": threading.get_ident() == self.thread, "gone": request.client_gone,
        }

    async def handle_get(self, query_params):
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return "plain " + query_params["name"]

    def handle_put(self, payload):
        return getattr(self, payload["do"])()

    def handle_delete(self):
        return b"bytes"

    def boom(self):
        raise ValueError("secret detail")

    def leave(self):
        sys.exit(3)

    def interrupt(self):
        raise KeyboardInterrupt

    def not_json(self):
        return {"model": [1, object()]}

    def say(self):
        print("one"); print("two", file=sys.stderr); logging.getLogger("lib").warning("three %s", 3)
        print("no newline", end="")
        return None

    def lots(self):
        print("x" * 1_000_000)
        return 1

    def awaitable(self):
        async def later():
            await asyncio.sleep(0)
            return {"awaited": True}
        return later()

    def stream(self):
        yield {"a": 1}
        yield {"b": 2}
"""


@pytest.fixture(scope="module")
def replica() -> Iterator[Running]:
    with a_replica(HANDLER, config={"k": 1}) as running:
        yield running


def do(replica: Running, what: str, **headers: str) -> Answer:
    body = json.dumps({"do": what}).encode()
    return replica.request("PUT", "/", body, {"content-type": "application/json"} | headers)


def test_arguments_are_matched_by_name(replica: Running) -> None:
    got = replica.post({"x": 1}, "/sub/a%20b?q=1&q=2", User_Agent="me", x_request_id="abc").json()
    assert got == {
        "payload": {"x": 1},
        "q": "2",
        "all": ["1", "2"],
        "agent": "me",
        "path": "/sub/a b",
        "method": "POST",
        "id": "abc",
        "same_thread": True,
        "gone": False,
    }


def test_an_async_method_has_a_current_task(replica: Running) -> None:
    answer = replica.request("GET", "/?name=x")
    assert (answer.status, answer.text, answer.headers["content-type"]) == (200, "plain x", "text/plain; charset=utf-8")


def test_head_is_get_without_a_body(replica: Running) -> None:
    answer = replica.request("HEAD", "/?name=x")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "7", b"")


def test_every_answer_names_request_and_revision(replica: Running) -> None:
    answer = replica.request("DELETE", headers={"x-request-id": "mine"})
    assert (answer.headers["x-request-id"], answer.headers["x-hatchway-revision"]) == ("mine", "rev1")
    assert len(replica.request("DELETE").headers["x-request-id"]) == 32


def test_a_request_id_is_bounded_to_128_characters(replica: Running) -> None:
    assert replica.request("DELETE", headers={"x-request-id": "a" * 300}).headers["x-request-id"] == "a" * 128


def test_a_verb_without_a_method_is_405_with_allow(replica: Running) -> None:
    answer = replica.request("PATCH")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, POST, PUT")
    answer = replica.request("OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST, PUT")


def test_a_failure_is_a_500_without_details_and_a_traceback_in_the_log(replica: Running) -> None:
    answer = do(replica, "boom", **{"x-request-id": "boom-1"})
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer.error["request_id"] == "boom-1"
    (message,) = replica.messages(level="ERROR", request_id="boom-1")
    assert "ValueError: secret detail" in message
    assert 'raise ValueError("secret detail")' in message
    assert "hatchway/replica" not in message


@pytest.mark.parametrize("what", ["leave", "interrupt"])
def test_a_handler_cannot_end_the_process(replica: Running, what: str) -> None:
    assert do(replica, what).status == 500
    assert do(replica, "awaitable").status == 200


def test_what_has_no_json_form_is_named_with_its_place(replica: Running) -> None:
    assert do(replica, "not_json", **{"x-request-id": "nj"}).status == 500
    (message,) = replica.messages(request_id="nj")
    assert 'result["model"][1] is a object' in message


def test_an_awaitable_of_a_sync_method_is_awaited(replica: Running) -> None:
    assert do(replica, "awaitable").json() == {"awaited": True}


def test_a_generator_of_dicts_is_json_lines(replica: Running) -> None:
    answer = do(replica, "stream")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.body == b'{"a":1}\n{"b":2}\n'


def test_a_client_that_accepts_events_gets_events(replica: Running) -> None:
    answer = do(replica, "stream", accept="text/event-stream")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b'data: {"a":1}\n\ndata: {"b":2}\n\n'


def test_prints_and_log_records_carry_the_request_id(replica: Running) -> None:
    assert do(replica, "say", **{"x-request-id": "say-1"}).body == b"null"
    do(replica, "awaitable")
    found = {(r["stream"], r["level"], r["message"]) for r in replica.records(request_id="say-1")}
    assert ("stdout", "INFO", "one") in found
    assert ("stderr", "WARNING", "two") in found
    assert ("logging", "WARNING", "lib: three 3") in found


def test_an_unfinished_line_is_written_under_its_own_request(replica: Running) -> None:
    do(replica, "say", **{"x-request-id": "say-2"})
    do(replica, "say", **{"x-request-id": "say-3"})
    assert "no newline" in replica.messages(request_id="say-2")


def test_a_megabyte_print_is_split(replica: Running) -> None:
    assert do(replica, "lots", **{"x-request-id": "lots"}).json() == 1
    messages = replica.messages(request_id="lots")
    assert "".join(messages) == "x" * 1_000_000
    assert max(map(len, messages)) <= 64 * 1024


def test_get_on_a_predict_only_handler_says_to_post() -> None:
    with a_replica("def predict(payload):\n    return payload") as replica:
        answer = replica.request("GET")
        assert answer.status == 405
        assert "POST" in answer.error["message"]
        assert replica.stats().handler == "function predict (sync)"


# --- deadlines -----------------------------------------------------------------------------------------------
SLOW = """
import threading, time
release = threading.Event()

def handle(payload, request):
    if payload == "release":
        release.set()
        return "released"
    if payload == "wait":
        release.wait(20)
    return payload
"""


def in_background(replica: Running, payload: object, answers: list[Answer], **headers: str) -> threading.Thread:
    def ask() -> None:
        with suppress(OSError, http.client.HTTPException):  # the replica is killed at the end of the test
            answers.append(replica.post(payload, **headers))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_full_queue_answers_503_with_retry_after() -> None:
    with a_replica(SLOW, max_concurrency=1, max_queue_length=1) as replica:
        answers: list[Answer] = []
        threads = [in_background(replica, "wait", answers)]
        replica.until(in_flight=1)
        threads.append(in_background(replica, "queued", answers, x_request_timeout="0.2"))
        replica.until(queued=1)
        refused = replica.post("refused")
        assert (refused.status, refused.headers["x-hatchway-overloaded"]) == (503, "1")
        assert int(refused.headers["retry-after"]) >= 1
        threads[1].join()
        assert answers[0].status == 504  # in the queue past its deadline; the slot is still taken
        stats = replica.stats()
        assert (stats.in_flight, stats.queued, stats.refused) == (1, 0, 1)
        replica.process.kill()
        threads[0].join()


def test_a_second_refusal_does_not_ask_for_another_attempt() -> None:
    with a_replica(SLOW, max_concurrency=1, max_queue_length=0) as replica, replica.connect() as sock:
        sock.sendall(http_post(b'"wait"'))
        replica.until(in_flight=1)
        refused = replica.post("refused", x_envoy_attempt_count="2")
        assert refused.status == 503
        assert "x-hatchway-overloaded" not in refused.headers


def http_post(body: bytes, *headers: bytes) -> bytes:
    fields = b"".join(header + b"\r\n" for header in headers)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    return head + fields + b"\r\n" + body


def test_a_sync_handler_past_its_timeout_keeps_its_slot() -> None:
    with a_replica(SLOW, max_concurrency=2, timeout_s=0.3) as replica:
        answer = replica.post("wait")
        assert answer.status == 504
        assert replica.stats().in_flight == 1
        assert replica.post("release").text == "released"
        replica.until(in_flight=0)
        assert replica.post("again").text == "again"


def test_a_stuck_replica_says_where_and_ends() -> None:
    handler = """
    import threading

    def handle(payload):
        threading.Event().wait()
    """
    with a_replica(handler, timeout_s=0.2) as replica:
        assert replica.post(1).status == 504
        assert replica.ended() == 74
        words = replica.last_words()
        assert words.reason == "Stuck"
        assert "threading.Event().wait()" in words.traceback


def test_an_async_handler_past_its_timeout_is_cancelled() -> None:
    handler = """
    import asyncio

    async def handle(payload):
        if payload == "next":
            return "served"
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("cancelled")
            raise
    """
    with a_replica(handler, timeout_s=0.3) as replica, replica.connect() as sock:
        sock.sendall(http_post(b"1") + http_post(b'"next"', b"connection: close"))
        received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 504")
        assert received.endswith(b"served")  # the connection lives on
        assert replica.messages(stream="stdout") == ["cancelled"]
        assert replica.messages(level="ERROR") == []
        assert (replica.stats().requests, replica.stats().errors) == (2, 1)


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_stream_that_starts_too_late_is_not_mixed_into_the_connection(kind: str) -> None:
    handler = f"""
    import asyncio, time

    class Handler:
        {kind}def handle_post(self, payload):
            if payload == "next":
                yield "served"
                return
            {"await asyncio.sleep(1)" if kind else "time.sleep(1)"}
            yield "too late"
    """
    with a_replica(handler, timeout_s=0.3, max_concurrency=2) as replica, replica.connect() as sock:
        sock.sendall(http_post(b"1"))
        first = sock.recv(65536)
        assert first.startswith(b"HTTP/1.1 504")
        replica.until(in_flight=0)
        sock.sendall(http_post(b'"next"', b"connection: close"))
        received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"too late" not in received


def test_a_client_that_leaves_cancels_its_async_handler() -> None:
    handler = """
    import asyncio

    async def handle(payload):
        print("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            print("ended")
    """
    with a_replica(handler) as replica:
        with replica.connect() as sock:
            sock.sendall(http_post(b"1"))
            replica.until(in_flight=1)
        replica.until(in_flight=0)
        assert replica.messages(stream="stdout") == ["begun", "ended"]


def test_a_client_that_leaves_the_queue_is_never_served() -> None:
    handler = """
    import threading
    release = threading.Event()

    def predict(payload):
        print(payload)
        release.wait(20)

    """
    with a_replica(handler) as replica, replica.connect() as first:
        first.sendall(http_post(b'"first"'))
        replica.until(in_flight=1)
        with replica.connect() as second:
            second.sendall(http_post(b'"second"'))
            replica.until(queued=1)
        replica.until(queued=0, in_flight=1)


def test_a_client_that_half_closes_still_gets_its_answer() -> None:
    with a_replica(
        "async def handle(payload):\n    import asyncio; await asyncio.sleep(0.1); return payload"
    ) as replica:
        received = replica.raw(http_post(b'"x"'))
        assert received.startswith(b"HTTP/1.1 200")
        assert received.endswith(b"x")


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_client_that_leaves_a_stream_closes_the_generator(kind: str) -> None:
    handler = f"""
    import asyncio, time

    {kind}def handle(payload):
        try:
            while True:
                yield b"x" * 1000
                {"await asyncio.sleep(0.01)" if kind else "time.sleep(0.01)"}
        finally:
            print("closed")
    """
    with a_replica(handler) as replica:
        with replica.connect() as sock:
            sock.sendall(http_post(b"1"))
            sock.recv(5000)
        replica.until(in_flight=0)
        assert replica.messages(stream="stdout") == ["closed"]


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_slow_reader_holds_the_generator_back(kind: str) -> None:
    handler = f"""
    made = 0

    class Handler:
        {kind}def handle_post(self, payload):
            global made
            for _ in range(200):
                made += 1
                yield b"x" * 100_000

        def handle_get(self):
            return made
    """
    with a_replica(handler, max_concurrency=2) as replica, replica.connect() as sock:
        sock.sendall(http_post(b"1", b"connection: close"))
        head = sock.recv(1000)
        seen = -1
        while (now := replica.request("GET").json()) != seen:
            seen = now
        assert seen < 100
        assert len(head + read_all(sock)) > 20_000_000


def test_a_stream_that_fails_in_the_middle_is_cut() -> None:
    handler = """
    def handle(payload):
        yield "one"
        raise RuntimeError("broken")
    """
    with a_replica(handler) as replica, replica.connect() as sock:
        sock.sendall(http_post(b"1"))
        received = b""
        try:
            received = read_all(sock)
        except ConnectionError:
            received += b""
        assert not received.endswith(b"0\r\n\r\n")
        assert "RuntimeError: broken" in "".join(replica.messages(level="ERROR"))


def test_a_stream_that_fails_before_its_first_piece_is_a_500() -> None:
    handler = """
    def handle(payload):
        raise RuntimeError("broken")
        yield "one"
    """
    with a_replica(handler) as replica:
        assert replica.post(1).status == 500


def test_variables_of_one_request_do_not_reach_another() -> None:
    handler = """
    import contextvars
    seen = contextvars.ContextVar("seen", default="none")

    class Handler:
        def handle_post(self, payload):
            before = seen.get()
            seen.set(payload)
            return before

        async def handle_put(self, payload):
            return self.handle_post(payload)
    """
    with a_replica(handler) as replica:
        assert [replica.post(n).text for n in ("a", "b")] == ["none", "none"]
        connection = UnixConnection(replica.launch.data_socket)
        for _ in range(2):
            connection.request("PUT", "/", b'"c"', {"content-type": "application/json"})
            assert connection.getresponse().read() == b"none"
        connection.close()


def test_pipelined_requests_are_answered_in_order() -> None:
    handler = """
    import asyncio

    async def handle(payload):
        await asyncio.sleep(0.05 if payload == 0 else 0)
        return payload
    """
    with a_replica(handler) as replica:
        received = replica.raw(b"".join(http_post(b"%d" % n) for n in range(200)))
        bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert bodies == [b"%d" % n for n in range(200)]


def test_starlette_responses_pass_through() -> None:
    handler = """
    from starlette.background import BackgroundTask
    from starlette.responses import FileResponse, JSONResponse, RedirectResponse, StreamingResponse

    class Handler:
        def handle_post(self, payload):
            if payload == "json":
                return JSONResponse({"a": 1}, 201, {"x-mine": "1"}, background=BackgroundTask(print, "afterwards"))
            if payload == "redirect":
                return RedirectResponse("/there")
            if payload == "file":
                return FileResponse("handler.py")
            return StreamingResponse(iter([{"n": 1}, {"n": 2}]), media_type="text/event-stream")
    """
    with a_replica(handler) as replica:
        answer = replica.post("json")
        assert (answer.status, answer.headers["x-mine"], answer.json()) == (201, "1", {"a": 1})
        replica.until(in_flight=0)
        assert replica.messages(stream="stdout") == ["afterwards"]
        assert replica.post("redirect").status == 307
        assert b"FileResponse" in replica.post("file").body
        assert replica.post("events").body == b'data: {"n":1}\n\ndata: {"n":2}\n\n'


def test_a_length_that_a_response_states_holds() -> None:
    handler = """
    from starlette.responses import Response, StreamingResponse

    class Handler:
        def handle_post(self, payload):
            status, length, pieces = payload
            headers = {"transfer-encoding": "gzip", "connection": "upgrade"}
            headers |= {"content-length": length} if length else {}
            return StreamingResponse(iter(pieces), status, headers)

        def handle_put(self, payload):
            return Response("body", headers={"content-length": "2", "transfer-encoding": "chunked", "x-mine": payload})
    """

    with a_replica(handler) as running:

        def asked(status: int, length: str, *pieces: str) -> bytes:
            body = json.dumps([status, length, pieces]).encode()
            return running.raw(http_post(body) + http_post(b'[200, "2", ["ok"]]'))

        for received in (
            asked(200, "4", "ab", "cd"),
            asked(200, "", "abcd"),
            asked(304, "4", "abcd"),
            asked(204, "", "x"),
        ):
            assert received.count(b"HTTP/1.1 ") == 2  # what follows is an answer of its own
            assert received.endswith(b"content-length: 2\r\n\r\nok")
            assert b"gzip" not in received
            assert b"upgrade" not in received
        for received in (asked(200, "3", "ab", "cd"), asked(200, "5", "ab", "cd")):
            assert received.count(b"HTTP/1.1 ") == 1  # cut: nobody can tell where the next one begins
        assert asked(200, "3, 4", "abc").startswith(b"HTTP/1.1 500")
        assert asked(200, "-1", "abc").startswith(b"HTTP/1.1 500")
        log = "".join(running.messages(level="ERROR"))
        assert "the response is longer than its content-length" in log
        assert "the response ends 1 bytes before its content-length" in log
        assert "the content-length of the response is not one number" in log
        whole = running.request("PUT", body=b'"1"', headers={"content-type": "application/json"})
        assert (whole.body, whole.headers["content-length"]) == (b"body", "4")
        assert "transfer-encoding" not in whole.headers
        split = running.request("PUT", body=b'"a\\r\\nset-cookie: b"', headers={"content-type": "application/json"})
        assert (split.status, split.headers.get("set-cookie")) == (500, None)


@pytest.mark.parametrize("kind", ["Response", "StreamingResponse"])
def test_a_status_that_ends_no_request_is_an_error(kind: str) -> None:
    handler = """
    from starlette.responses import Response, StreamingResponse

    class Handler:
        def handle_post(self, payload):
            return {"Response": Response, "StreamingResponse": StreamingResponse}[payload[0]]("x", payload[1])
    """
    with a_replica(handler) as running:
        for status in (100, 103, 1000):
            body = json.dumps([kind, status]).encode()
            assert running.raw(http_post(body)).startswith(b"HTTP/1.1 500")
        assert "103 is no status of an answer" in "".join(running.messages(level="ERROR"))


def test_forms_become_starlettes_form_data() -> None:
    handler = """
    async def predict(payload):
        return {"name": payload["name"], "file": (await payload["file"].read()).decode()}
    """
    body = (
        b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\nx\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\ndata\r\n--b--\r\n'
    )
    with a_replica(handler) as replica:
        answer = replica.request("POST", "/", body, {"content-type": "multipart/form-data; boundary=b"})
        assert answer.json() == {"name": "x", "file": "data"}
        answer = replica.request("POST", "/", body, {"content-type": "multipart/form-data"})
        assert answer.status == 400


def test_a_socket_is_for_its_user_only() -> None:
    with a_replica("def predict(payload): return 1") as replica:
        mode = (replica.folder / "r1.data").stat().st_mode
        assert mode & 0o777 == 0o600


def test_an_async_method_beside_a_sync_one_fails_once() -> None:
    source = """
    class Handler:
        def handle_post(self, payload):
            return payload

        async def handle_put(self, payload):
            raise ValueError("async and wrong")
    """
    with a_replica(source) as replica:
        answer = replica.request("PUT", "/", b"1", {"content-type": "application/json", "x-request-id": "one"})
        assert answer.status == 500
        assert replica.post(1).json() == 1
        (record,) = replica.records(request_id="one", level="ERROR")
        assert "async and wrong" in record["message"]
        assert replica.stats().errors == 1


def test_a_response_that_cannot_be_sent_is_a_500_and_its_slot_is_free_again() -> None:
    source = """
    class Wrong:
        status_code = "many"
        raw_headers = []
        body = b""
        background = None

        async def __call__(self, scope, receive, send): ...

    def predict(payload):
        return Wrong() if payload == "wrong" else payload
    """
    with a_replica(source) as replica:
        assert replica.post("wrong").status == 500
        assert replica.post(1).json() == 1
        replica.until(in_flight=0)


def test_nothing_follows_a_timeout_on_its_connection(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = f"""
    from starlette.responses import StreamingResponse

    def predict(payload):
        if payload == "late":
            open({str(fifo)!r}).read()
            return StreamingResponse(iter(["late"]))
        return payload
    """
    late = b"POST / HTTP/1.1\r\nhost: x\r\nx-request-timeout: 0.1\r\n"
    head = b'content-type: application/json\r\ncontent-length: 6\r\n\r\n"late"'
    with a_replica(source, timeout_s=30.0) as replica, replica.connect() as sock:
        sock.sendall(late + head)
        received = b""
        while not received.endswith(b"}}"):
            received += sock.recv(65536)
        assert b" 504 " in received
        fifo.write_text("go")
        replica.until(in_flight=0)
        sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n7")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        assert replica.stats().errors == 1  # the timeout
