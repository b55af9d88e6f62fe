"""Requests that are sent for the dashboard: what they may reach, and what bounds them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import pytest

from hatchway.control_api.trials import MAX_ANSWER_BYTES, MAX_AT_ONCE, MAX_BODY_BYTES, Trials, to_request
from hatchway.errors import Conflict, GatewayError, TimedOut, UsageError
from hatchway.spec.trial import TrialRequest

ENDPOINT = "http://127.0.0.1:8484/iris"


class Gateway:
    """Answers every connection with `answer`, after `gate`."""

    def __init__(self) -> None:
        self.answer = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: q\r\ncontent-length: 2\r\n\r\n{}"
        )
        self.asked: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        await self.gate.wait()
        writer.write(self.answer)
        writer.write_eof()
        await reader.read()
        writer.close()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    found = Gateway()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    found.url = f"http://{host}:{port}/iris"
    async with server:
        yield found


def to_url(path: str) -> httpx.URL:
    return to_request(ENDPOINT, TrialRequest(path=path)).url


@pytest.mark.parametrize("path", ["", "/", "/a/b%20c", "?x=1&y=a b", "/ä", "//evil.example.com/", "/@evil.example.com"])
def test_a_path_is_below_the_endpoint_whatever_it_looks_like(path: str) -> None:
    url = to_url(path)
    assert (url.host, url.port) == ("127.0.0.1", 8484)
    assert url.path.startswith("/iris")


@pytest.mark.parametrize(
    "path",
    ["x", "@evil.com/", ".evil.example.com", ":80/", "/../other", "/..;/other", "/a/%2e%2e/%2E%2e/other",
     "/#x", "/\\x", "/a\r\n"],
)  # fmt: skip
def test_a_path_that_could_leave_it_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        to_url(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("host", "x"), ("Content-Length", "3"), ("transfer-encoding", "chunked"), ("a b", "c"), ("a", "b\r\n"), ("", "")],
)  # fmt: skip
def test_a_header_that_is_the_gateways_own_or_none_at_all_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="header"):
        to_request(ENDPOINT, TrialRequest(headers={name: value}))


def test_a_body_is_text_or_bytes_and_not_too_large() -> None:
    assert to_request(ENDPOINT, TrialRequest(body="ä")).content == "ä".encode()
    encoded = base64.b64encode(b"\x00\xff").decode()
    assert to_request(ENDPOINT, TrialRequest(body_base64=encoded)).content == b"\x00\xff"
    for wrong in (TrialRequest(body_base64="?"), TrialRequest(body="x" * (MAX_BODY_BYTES + 1))):
        with pytest.raises(UsageError):
            to_request(ENDPOINT, wrong)


async def test_an_answer_is_told_with_its_headers(gateway: Gateway) -> None:
    answer = await Trials().send(gateway.url, TrialRequest(path="/x?y=1", headers={"content-type": "text/plain"}))
    assert (answer.status, answer.body, answer.request_id, answer.is_cut) == (200, "{}", "q", False)
    assert ("content-type", "application/json") in answer.headers
    assert gateway.asked[0].startswith(b"POST /iris/x?y=1 HTTP/1.1\r\n")
    assert b"cookie" not in gateway.asked[0].lower()


async def test_an_answer_without_end_is_cut_and_one_of_bytes_is_told_as_such(gateway: Gateway) -> None:
    gateway.answer = b"HTTP/1.1 200 OK\r\n\r\n" + "ä".encode() * MAX_ANSWER_BYTES
    answer = await Trials().send(gateway.url, TrialRequest())
    assert answer.is_cut
    assert answer.body == "ä" * (MAX_ANSWER_BYTES // 2)
    gateway.answer = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 2\r\n\r\n\x89P"
    answer = await Trials().send(gateway.url, TrialRequest())
    assert (answer.body, answer.body_base64) == (None, base64.b64encode(b"\x89P").decode())


async def test_a_redirect_is_shown_and_not_followed(gateway: Gateway) -> None:
    gateway.answer = b"HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    assert (await Trials().send(gateway.url, TrialRequest())).status == 307
    assert len(gateway.asked) == 1


async def test_only_so_many_are_on_their_way_and_none_for_ever(gateway: Gateway) -> None:
    gateway.gate.clear()
    trials = Trials(limit_s=0.2)
    under_way = [asyncio.create_task(trials.send(gateway.url, TrialRequest())) for _ in range(MAX_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="on their way"):
        await trials.send(gateway.url, TrialRequest())
    assert {type(end) for end in await asyncio.gather(*under_way, return_exceptions=True)} == {TimedOut}
    gateway.gate.set()
    assert (await trials.send(gateway.url, TrialRequest())).status == 200


async def test_a_gateway_that_is_gone_is_named() -> None:
    with pytest.raises(GatewayError, match="did not answer"):
        await Trials().send("http://127.0.0.1:1/iris", TrialRequest())
