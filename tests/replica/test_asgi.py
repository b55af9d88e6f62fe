"""ASGI applications behind uvicorn: lifespan, root path, admission, deadlines, limits, drain."""

from __future__ import annotations

import pytest

from hatchway.contract import CONTROL_REQUESTS, EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED, FoundRequests
from tests.replica.running import Running, read_all

APP = """
import asyncio, threading, time
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

@asynccontextmanager
async def lifespan(app):
    print("startup")
    yield {"model": "loaded"}
    print("shutdown")

app = FastAPI(lifespan=lifespan)
release = threading.Event()

@app.post("/predict")
async def predict(request: Request, payload: dict):
    print("predicting")
    return {"payload": payload, "model": request.state.model, "root": request.scope["root_path"]}

@app.get("/url")
async def url(request: Request):
    return str(request.url_for("predict"))

@app.get("/boom")
async def boom():
    raise ValueError("secret")

@app.get("/slow")
async def slow():
    await asyncio.sleep(3600)

@app.get("/blocked")
def blocked():
    release.wait(20)
    return "late"

@app.get("/release")
def free():
    release.set()

@app.post("/size")
async def size(request: Request):
    return len(await request.body())

@app.get("/stream")
async def stream():
    async def pieces():
        for n in range(3):
            yield f"{n}\\n"
            await asyncio.sleep(0)
    return StreamingResponse(pieces())
"""


def an_app(text: str = APP, **launch_fields: object) -> Running:
    return Running({"main.py": text}, {"app": "main:app", "endpoint": "/shop"} | launch_fields)


def test_an_application_answers_below_its_root_path() -> None:
    with an_app() as replica:
        answer = replica.post({"x": 1}, "/predict", x_request_id="mine")
        assert answer.json() == {"payload": {"x": 1}, "model": "loaded", "root": "/shop"}
        assert (answer.headers["x-request-id"], answer.headers["x-hatchway-revision"]) == ("mine", "rev1")
        assert replica.request("GET", "/url").json().endswith("/shop/predict")
        assert replica.request("GET", "/stream").text == "0\n1\n2\n"
        assert replica.records(request_id="mine")[0]["message"] == "predicting"
        assert replica.stats().handler == "ASGI app main:app"
        assert replica.until(requests=3).max_concurrency == 64


def test_the_gateway_says_where_it_is_served_now() -> None:
    with an_app() as replica:
        moved = {"x-hatchway-endpoint": "/moved"}
        assert replica.request("GET", "/url", headers=moved).json().endswith("/moved/predict")
        assert replica.request("GET", "/url", headers={"x-hatchway-endpoint": "/"}).json().endswith("replica/predict")
        assert replica.post({}, "/predict", **moved).json()["root"] == "/moved"


def test_the_gateway_says_how_large_a_body_may_be_now() -> None:
    with an_app(max_body_bytes=10) as replica:
        for told, status in ((b"", 413), (b"x-hatchway-max-body: 100\r\n", 200), (b"x-hatchway-max-body: 99\r\n", 413)):
            head = b"POST /size HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n" + told + b"\r\n"
            with replica.connect() as sock:
                sock.sendall(head + b"x" * 100)  # at once: a refusal closes, and then no more can be sent
                assert read_all(sock).startswith(b"HTTP/1.1 %d" % status)


def test_a_failure_is_a_500_with_its_traceback_in_the_log() -> None:
    with an_app() as replica:
        answer = replica.request("GET", "/boom", headers={"x-request-id": "b"})
        assert answer.status == 500
        assert b"secret" not in answer.body
        replica.until(in_flight=0)
        assert "ValueError: secret" in "".join(replica.messages(request_id="b", level="ERROR", stream="replica"))


@pytest.mark.parametrize("path", ["/slow", "/blocked"])
def test_a_request_past_its_timeout_is_504_at_once(path: str) -> None:
    with an_app(timeout_s=0.3) as replica:
        assert replica.request("GET", path).status == 504
        if path == "/blocked":
            assert replica.stats().in_flight == 1  # its thread still runs
            assert replica.request("GET", "/release").status == 200
        replica.until(in_flight=0)


def test_a_request_that_leaves_no_time_never_reaches_the_application() -> None:
    with an_app() as replica:
        for patience in ("0", "-1"):
            answer = replica.post({}, "/predict", x_request_timeout=patience)
            assert (answer.status, answer.error["kind"]) == (504, "timeout")
        assert replica.stats().requests == 2
        assert replica.post({}, "/predict").status == 200
        assert replica.messages(message="predicting") == ["predicting"]


def test_a_full_queue_answers_503() -> None:
    with (
        an_app(max_concurrency=1, max_queue_length=1) as replica,
        replica.connect() as first,
        replica.connect() as second,
    ):
        first.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        replica.until(in_flight=1)
        second.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nx-request-timeout: 0.3\r\nconnection: close\r\n\r\n")
        replica.until(queued=1)
        refused = replica.request("GET", "/url")
        assert (refused.status, refused.headers["x-hatchway-overloaded"]) == (503, "1")
        assert read_all(second).startswith(b"HTTP/1.1 504")


def test_a_client_that_leaves_the_queue_is_never_served() -> None:
    with an_app(max_concurrency=1) as replica, replica.connect() as first:
        first.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        replica.until(in_flight=1)
        with replica.connect() as second:
            body = b'{"a": 1}'
            second.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            replica.until(queued=1)
        replica.until(queued=0, in_flight=1)
        assert "predicting" not in replica.messages(stream="stdout")


def test_a_body_that_waited_in_the_queue_arrives_whole() -> None:
    with an_app(max_concurrency=1) as replica, replica.connect() as second, replica.connect() as first:
        first.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nx-request-timeout: 0.5\r\n\r\n")
        replica.until(in_flight=1)
        head = b"POST /size HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n"
        second.sendall(head + b"x" * 300_000)
        replica.until(queued=1)
        assert read_all(second).endswith(b"300000")


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"content-length: 2000", b"x" * 2000), (b"transfer-encoding: chunked", b"7d0\r\n" + b"x" * 2000 + b"\r\n")],
)
def test_a_body_over_the_limit_is_413(framing: bytes, body: bytes) -> None:
    with an_app(max_body_bytes=1000) as replica, replica.connect() as sock:
        sock.sendall(b"POST /size HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % framing + body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")
        assert replica.until(in_flight=0).errors == 0  # the caller's
        assert replica.messages(level="ERROR") == []


def test_a_client_that_leaves_while_it_sends_is_no_failure_of_the_application() -> None:
    with an_app() as replica:
        with replica.connect() as sock:
            sock.sendall(b"POST /size HTTP/1.1\r\nhost: x\r\nx-request-id: left\r\ncontent-length: 9\r\n\r\nhalf")
            replica.until(in_flight=1)
        assert replica.until(in_flight=0).errors == 0
        assert replica.messages(level="ERROR") == []
        (record,) = FoundRequests.from_json(replica.control(f"{CONTROL_REQUESTS}?id=left").body).requests
        assert record.outcome == "client_left"


def test_the_lifespan_ends_after_the_last_request() -> None:
    with an_app() as replica, replica.connect() as sock:
        sock.sendall(b"GET /blocked HTTP/1.1\r\nhost: x\r\n\r\n")
        replica.until(in_flight=1)
        free = replica.connect()
        replica.terminate()
        free.sendall(b"GET /release HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert replica.ended() == 0
        free.close()
        assert read_all(sock).endswith(b'"late"')
        assert replica.messages(stream="stdout") == ["startup", "shutdown"]


def test_a_failing_startup_is_told() -> None:
    text = """
    from contextlib import asynccontextmanager
    from starlette.applications import Starlette

    @asynccontextmanager
    async def lifespan(app):
        raise RuntimeError("no model")
        yield

    app = Starlette(lifespan=lifespan)
    """
    with Running({"main.py": text}, {"app": "main:app"}, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        words = replica.last_words()
        assert words.reason == "InitFailed"
        assert words.message == "application main:app: startup failed at main.py:7 in lifespan: RuntimeError: no model"


def test_a_bare_application_without_lifespan_is_served() -> None:
    text = """
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
    """
    with an_app(text) as replica:
        assert replica.request("GET", "/x").text == "/shop/x"


def test_the_warm_up_goes_through_the_application() -> None:
    warmup = {"path": "/predict", "payload": {"x": 1}}
    with an_app(warmup=warmup) as replica:
        assert "predicting" in replica.messages(stream="stdout")
        assert replica.stats().requests == 0
    fields = {"app": "main:app", "warmup": {"x": 1}}
    with Running({"main.py": APP}, fields, wait_ready=False) as replica:
        assert replica.ended() == EXIT_WARMUP_FAILED
        assert "404" in replica.last_words().message


@pytest.mark.parametrize(
    ("text", "reason"),
    [("app = 1", "HandlerNotFound"), ("x = 1", "HandlerNotFound"), ("import nothing_like_it", "ImportError")],
)
def test_an_application_that_cannot_be_loaded(text: str, reason: str) -> None:
    with Running({"main.py": text}, {"app": "main:app"}, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        assert replica.last_words().reason == reason
