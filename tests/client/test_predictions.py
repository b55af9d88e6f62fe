"""Predictions through a real HTTP server in the gateway's place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hatchway import AsyncClient, Client
from hatchway.errors import PredictionFailed
from tests.control_api.memory_plane import MemoryPlane, RunningPlane, an_api


class Echo(BaseHTTPRequestHandler):
    """Answers with what it got, in the way its path says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status, kind = {"/teapot": (418, "text/plain"), "/broken": (200, "application/json")}.get(
            self.path, (200, self.headers["content-type"])
        )
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("x-request-id", "q1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not a log."""


@contextmanager
def echo_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("payload", [{"a": [1, 2.5, None]}, [1], "größe", b"\x00\xff", 7])
def test_a_prediction_comes_back_as_it_was_sent(client: Client, running: RunningPlane, payload: object) -> None:
    with echo_server() as url:
        running.plane.apis["iris"] = an_api(endpoint=f"{url}/iris")
        assert client.predict("iris", payload) == payload


def test_no_proxy_of_the_environment_stands_in_between(
    client: Client, running: RunningPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with echo_server() as url:
        running.plane.apis["iris"] = an_api(endpoint=f"{url}/iris")
        assert client.predict("iris", {"a": 1}) == {"a": 1}


def test_a_prediction_that_fails_tells_status_and_request_id(client: Client, running: RunningPlane) -> None:
    with echo_server() as url:
        running.plane.apis["iris"] = an_api(endpoint=f"{url}/teapot")
        with pytest.raises(PredictionFailed, match="iris answered 418: no coffee") as caught:
            client.predict("iris", "no coffee")
    assert (caught.value.status, caught.value.request_id) == (418, "q1")
    with pytest.raises(PredictionFailed, match="did not answer"):
        client.predict("iris", "anybody?")


def test_json_that_is_none_is_a_failed_prediction(client: Client, running: RunningPlane) -> None:
    with echo_server() as url:
        running.plane.apis["iris"] = an_api(endpoint=f"{url}/broken")
        with pytest.raises(PredictionFailed, match="cannot be read"):
            client.predict("iris", "{")


async def test_the_async_client_predicts(served_plane: tuple[MemoryPlane, AsyncClient]) -> None:
    plane, client = served_plane
    with echo_server() as url:
        plane.change(an_api(endpoint=f"{url}/iris"))
        assert await client.predict("iris", {"a": 1}) == {"a": 1}
        assert (await client.request("iris", b"x")).request_id == "q1"
