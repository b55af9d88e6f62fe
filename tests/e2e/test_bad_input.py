"""Handlers that misbehave and callers that do: nothing hangs, nothing is lost, the message helps.

One home for all of them, and one API per kind of handler, so that each test also finds out whether the one before it
did harm that lasts.
"""

from __future__ import annotations

import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from hatchway import Client
from hatchway.spec.status import LogLine
from tests.e2e.verbs import engine_socket, get, until
from tests.shell import Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90), pytest.mark.xdist_group("bad input")]

MEGABYTE = 1_000_000
MAX_BODY = 1024 * 1024
TIMEOUT_S = 1.0

HANDLER = """
import asyncio, ctypes, os, sys, time

print("loading " + "x" * 1_000_000)

class Handler:
    def handle_post(self, payload, headers):
        match headers.get("x-do"):
            case "print":
                print("asked " + "y" * 1_000_000)
            case "print lines":
                for number in range(20_000):
                    print(f"line {number} " + "z" * 40)
            case "print from C":
                ctypes.CDLL(None).puts(b"from C " + b"c" * 1_000_000)
                ctypes.CDLL(None).fflush(None)
            case "return a socket":
                import socket
                return {"answer": socket.socket()}
            case "return a loop":
                loop = []
                loop.append(loop)
                return loop
        return {"got": payload if isinstance(payload, (dict, list, int)) else len(payload), "pid": os.getpid()}
"""

# Each of these runs one request at a time, and writes down which ones it ran.
SINGLE = """
import asyncio, os, time
from pathlib import Path

class Handler:
    def __init__(self, config):
        self.ran = Path(config["ran"])

    def begin(self, payload):
        with self.ran.open("a") as file:
            file.write(f"{payload}\\n")
        return {"got": payload, "pid": os.getpid()}

class SyncHandler(Handler):
    def handle_post(self, payload):
        answer = self.begin(payload)
        if payload == "block":
            time.sleep(3600)
        if payload == "exit":
            print("about to exit")
            os._exit(3)
        if payload == "allocate":
            self.kept = []
            while True:
                self.kept.append(b"x" * 10_000_000)
                time.sleep(0.01)
        return answer

class AsyncHandler(Handler):
    async def handle_post(self, payload):
        answer = self.begin(payload)
        if payload == "block":
            await asyncio.sleep(3600)
        if payload == "freeze":
            time.sleep(3600)
        return answer
"""

APIS = """
- {{name: plain, handler: {{path: handler.py}}, networking: {{max_body: 1Mi}}}}
- {{name: exits, handler: {{path: single.py, class: SyncHandler, config: {{ran: {ran}/exits}}}}}}
- name: allocates
  handler: {{path: single.py, class: SyncHandler, config: {{ran: {ran}/allocates}}}}
  compute: {{mem: 200Mi}}
- name: blocks
  handler: {{path: single.py, class: SyncHandler, timeout: 1s, config: {{ran: {ran}/blocks}}}}
- name: awaits
  handler: {{path: single.py, class: AsyncHandler, timeout: 1s, max_concurrency: 1, config: {{ran: {ran}/awaits}}}}
- name: freezes
  handler: {{path: single.py, class: AsyncHandler, timeout: 1s, max_concurrency: 1, config: {{ran: {ran}/freezes}}}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder, ran = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("ran")
    (folder / "hatchway.yaml").write_text(APIS.format(ran=ran))
    (folder / "handler.py").write_text(HANDLER)
    (folder / "single.py").write_text(SINGLE)
    with a_shell(folder) as shell:
        shell.run("hatchway deploy")
        yield shell
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


@pytest.fixture(scope="module")
def gateway(shell: Shell) -> str:
    return shell.gateway_url()


@pytest.fixture
def plain(shell: Shell, gateway: str) -> Iterator[str]:
    """The address of the API that must come out of each test as it went in: same process, still answering."""
    url = f"{gateway}/plain"
    pid = httpx.post(url, json=1).json()["pid"]
    yield url
    assert httpx.post(url, json=1).json() == {"got": 1, "pid": pid}


def ran(shell: Shell, name: str) -> list[str]:
    """The payloads for which the handler of an API was run, in order."""
    return Path(get(shell, name)["spec"]["handler"]["config"]["ran"]).read_text().split()


def pid_of(shell: Shell, name: str) -> int:
    return int(get(shell, name)["replica_list"][0]["pid"])


def log_lines(shell: Shell, name: str, request_id: str | None = None) -> list[LogLine]:
    with Client(socket=engine_socket(shell)) as client:
        return list(client.logs(name, request_id=request_id))


# --- handlers: what they print ---------------------------------------------------------------------------------
def test_a_megabyte_printed_while_loading_is_kept_whole_in_pieces(shell: Shell, plain: str) -> None:
    said = [line.message for line in log_lines(shell, "plain") if "xx" in line.message]
    assert "".join(said) == "loading " + "x" * MEGABYTE
    assert max(map(len, said)) <= 64 * 1024


@pytest.mark.parametrize(("what", "letter", "count"), [("print", "y", MEGABYTE), ("print lines", "z", 20_000 * 40)])
def test_a_megabyte_printed_in_a_request_is_in_the_log_under_its_id(
    shell: Shell, plain: str, what: str, letter: str, count: int
) -> None:
    answer = httpx.post(plain, json=2, headers={"x-do": what, "x-request-id": f"wordy-{letter}"})
    assert answer.json()["got"] == 2
    said = [line.message for line in log_lines(shell, "plain", f"wordy-{letter}")]
    assert sum(piece.count(letter) for piece in said) == count


def test_a_megabyte_printed_by_c_code_is_read_back(shell: Shell, plain: str) -> None:
    assert httpx.post(plain, json=3, headers={"x-do": "print from C"}).status_code == 200
    said = "".join(line.message for line in log_lines(shell, "plain") if "ccc" in line.message)
    assert said == "from C " + "c" * MEGABYTE


# --- handlers: what they return --------------------------------------------------------------------------------
@pytest.mark.parametrize(("what", "names"), [("return a socket", "socket"), ("return a loop", "list")])
def test_what_cannot_be_serialised_is_a_500_that_the_log_explains(
    shell: Shell, plain: str, what: str, names: str
) -> None:
    answer = httpx.post(plain, json=1, headers={"x-do": what})
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    said = " ".join(line.message for line in log_lines(shell, "plain", answer.headers["x-request-id"]))
    assert names in said


# --- handlers: how they end ------------------------------------------------------------------------------------
def test_a_handler_that_exits_costs_its_request_and_is_started_again(shell: Shell, gateway: str) -> None:
    pid = pid_of(shell, "exits")
    answer = httpx.post(f"{gateway}/exits", json="exit")
    assert answer.status_code == 503
    assert answer.json()["error"]["kind"] == "replica_lost"
    seen = until(shell, lambda s: s["replica_list"][0]["pid"] != pid and s["replica_list"][0]["reason"] != "", "exits")
    assert (seen["replica_list"][0]["reason"], "3" in seen["replica_list"][0]["message"]) == ("Exited", True)
    status = until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] != pid, "exits")
    assert status["replica_list"][0]["restarts"] == 1
    assert httpx.post(f"{gateway}/exits", json="x").json()["got"] == "x"
    assert ran(shell, "exits") == ["exit", "x"]  # lost, and never silently run again
    logs = shell.run("hatchway logs exits").stdout
    assert "about to exit" in logs
    assert "exit code 3" in logs


def test_a_handler_that_allocates_past_its_limit_is_ended_and_named(shell: Shell, gateway: str) -> None:
    pid = pid_of(shell, "allocates")
    answer = httpx.post(f"{gateway}/allocates", json="allocate", timeout=60)
    assert answer.status_code == 503
    seen = until(shell, lambda s: s["replica_list"][0]["reason"] != "", "allocates")
    assert seen["replica_list"][0]["reason"] == "OutOfMemory"
    assert "200" in seen["replica_list"][0]["message"]
    until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] != pid, "allocates")
    assert httpx.post(f"{gateway}/allocates", json="x").json()["got"] == "x"


# --- handlers: that never end ----------------------------------------------------------------------------------
def test_a_handler_that_blocks_keeps_its_slot_until_its_replica_is_replaced(shell: Shell, gateway: str) -> None:
    pid = pid_of(shell, "blocks")
    url = f"{gateway}/blocks"
    began = time.monotonic()
    answer = httpx.post(url, json="block")
    assert answer.status_code == 504
    assert time.monotonic() - began >= TIMEOUT_S
    assert httpx.post(url, json="second").status_code == 504  # it waited for the one slot, and was never run
    until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] != pid, "blocks")
    assert httpx.post(url, json="third").json()["got"] == "third"
    assert ran(shell, "blocks") == ["block", "third"]
    assert "Stuck" in shell.run("hatchway logs blocks").stdout


def test_an_async_handler_that_waits_for_ever_is_cancelled_and_its_slot_is_free(shell: Shell, gateway: str) -> None:
    pid = pid_of(shell, "awaits")
    url = f"{gateway}/awaits"
    assert httpx.post(url, json="block").status_code == 504
    assert httpx.post(url, json="next").json() == {"got": "next", "pid": pid}


def test_a_replica_whose_event_loop_is_frozen_is_replaced(shell: Shell, gateway: str) -> None:
    pid = pid_of(shell, "freezes")
    url = f"{gateway}/freezes"
    frozen = httpx.post(url, json="freeze", timeout=30)
    assert (frozen.status_code, frozen.json()["error"]["kind"]) == (504, "timeout")  # the gateway's own limit
    until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] != pid, "freezes")
    assert httpx.post(url, json="next").json()["got"] == "next"
    assert ran(shell, "freezes") == ["freeze", "next"]


# --- callers: what they send -----------------------------------------------------------------------------------
@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"\xff\xfe", b'{"a": NaN}', b"", b"[" * 100_000])
def test_malformed_json_is_a_400(plain: str, body: bytes) -> None:
    answer = httpx.post(plain, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("multipart/form-data; boundary=abc", b"this is no form", "form"),
        ("multipart/form-data", b"--abc\r\n", "boundary"),
        ("text/plain; charset=utf-8", b"\xff\xfe\xfa", "utf-8"),
        ("text/plain; charset=klingon", b"abc", "klingon"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_a_400_that_says_so(
    plain: str, content_type: str, body: bytes, says: str
) -> None:
    answer = httpx.post(plain, content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_an_unknown_content_type_is_bytes(plain: str) -> None:
    answer = httpx.post(plain, content=b"abc", headers={"content-type": "nonsense"})
    assert answer.json()["got"] == len(b"abc")


def test_a_method_that_the_handler_has_not_is_a_405(plain: str) -> None:
    assert httpx.delete(plain).status_code == 405


def test_a_declared_body_over_the_limit_is_a_413(plain: str) -> None:
    answer = httpx.post(plain, content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert str(MAX_BODY) in answer.json()["error"]["message"]


def test_a_chunked_body_over_the_limit_is_a_413(plain: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(4):
            yield b"x" * (MAX_BODY // 2)

    answer = httpx.post(plain, content=chunks())
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "body_too_large")


# --- callers: how they leave -----------------------------------------------------------------------------------
@contextmanager
def connected(url: str, data: bytes = b"") -> Iterator[socket.socket]:
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), timeout=30) as client:
        client.sendall(data)
        yield client


HEAD = b"POST /plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "half", [b"POST /pl", HEAD, HEAD + b"content-length: 10\r\n\r\n", HEAD + b"content-length: 10\r\n\r\n[1, 2"]
)
def test_half_a_request_takes_no_slot_and_leaves_nothing(plain: str, half: bytes) -> None:
    """The handler runs one request at a time: a half one that held the slot would stop all others."""
    with connected(plain, half):
        assert httpx.post(plain, json=5).json()["got"] == 5
    assert httpx.post(plain, json=6).json()["got"] == 6


def test_a_caller_who_leaves_in_the_middle_of_a_chunk_is_forgotten(plain: str) -> None:
    with connected(plain, HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n[1,") as client:
        client.shutdown(socket.SHUT_WR)
    assert httpx.post(plain, json=7).json()["got"] == 7


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 1000])
def test_what_is_not_http_is_refused(plain: str, nonsense: bytes) -> None:
    with connected(plain, nonsense) as client:
        assert re.match(rb"HTTP/1\.1 400|$", client.recv(100))


def test_a_thousand_idle_connections_stop_nobody(plain: str) -> None:
    with room_for_files(3000), ExitStack() as idle:
        for _ in range(500):
            idle.enter_context(connected(plain))
        for _ in range(500):
            idle.enter_context(connected(plain, b"POST /plain HTTP/1.1\r\n"))
        with ExitStack() as clients:
            answers: list[int] = []
            for _ in range(8):
                thread = threading.Thread(target=lambda: answers.append(httpx.post(plain, json=8).status_code))
                thread.start()
                clients.callback(thread.join, 30)
        assert answers == [200] * 8


@contextmanager
def room_for_files(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this user may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
