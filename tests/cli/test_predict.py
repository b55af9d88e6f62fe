from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.cli.predict import BINARY, Payload, guess, read_payload
from hatchway.errors import NotFound, UsageError
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import a_line, an_api


class Echo(http.server.BaseHTTPRequestHandler):
    """A gateway with one API: it echoes, and fails for what is not JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        kind = self.headers["content-type"]
        if kind != "application/json":
            self._answer(500, "application/json", json.dumps({"error": {"message": "no flowers in " + kind}}).encode())
        elif body == b'"image"':
            self._answer(200, "image/png", b"\x89PNG\xff")
        else:
            self._answer(200, kind, body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the output of the tests."""


@pytest.fixture
def gateway() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/iris"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def iris(cli: CommandLine, gateway: str) -> CommandLine:
    cli.engine.change(an_api("iris", endpoint=gateway))
    return cli


# --- what the argument means -----------------------------------------------------------------------------------
def test_json_is_sent_as_it_stands() -> None:
    assert read_payload('{"a":  1}') == Payload(b'{"a":  1}', "application/json")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.json", "application/json"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.jpg", "image/jpeg"),
        ("a.npy", BINARY),
        ("a.json.gz", BINARY),
        ("a", BINARY),
    ],
)
def test_the_suffix_of_a_file_tells_the_content_type(tmp_path: Path, name: str, content_type: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"\xff1")
    assert read_payload(str(file)) == Payload(b"\xff1", content_type)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b'{"a": 1}', "application/json"), ("grüß".encode(), "text/plain; charset=utf-8"), (b"\x89PNG\xff", BINARY)],
)
def test_a_pipe_is_json_else_text_else_bytes(body: bytes, content_type: str) -> None:
    assert guess(body) == Payload(body, content_type)


def test_a_missing_file_is_not_found() -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read_payload("reqest.json")


@pytest.mark.parametrize("text", ["{'a': 1}", "hello world", '{"a": ', "x" * 5000, ""])
def test_neither_file_nor_json_is_a_usage_error_that_says_how_to_quote(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_payload(text)
    assert "quote it" in str(caught.value.hint)


# --- asking ----------------------------------------------------------------------------------------------------
def test_the_answer_is_printed_as_it_came(iris: CommandLine) -> None:
    done = iris.run("predict", "iris", '{"a":  [1]}')
    assert (done.code, done.stdout, done.stderr) == (0, '{"a":  [1]}\n', "")


def test_stdin_is_a_request_too(iris: CommandLine) -> None:
    assert iris.run("predict", "iris", "-", stdin="[1, 2]").json == [1, 2]


def test_an_error_shows_the_log_of_that_request_and_is_exit_code_1(iris: CommandLine, tmp_path: Path) -> None:
    iris.engine.change(line=a_line("Traceback (most recent call last):\n  boom"))
    (tmp_path / "a.txt").write_text("x")
    done = iris.run("predict", "iris", str(tmp_path / "a.txt"))
    assert (done.code, done.stdout) == (1, "")
    assert "Traceback (most recent call last):\n" in done.stderr
    assert "error: iris answered 500: no flowers in text/plain; charset=utf-8" in done.stderr
    asked = iris.engine.plane.logs_asked[-1]
    assert len(asked["request_id"]) == 32


def test_a_gateway_that_does_not_answer_is_named(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris", endpoint="http://127.0.0.1:1/iris"))
    done = cli.run("predict", "iris", "1")
    assert done.code == 1
    assert "http://127.0.0.1:1/iris did not answer" in done.stderr


def test_an_unknown_api_is_exit_code_3(cli: CommandLine) -> None:
    assert cli.run("predict", "nobody", "1").code == 3
