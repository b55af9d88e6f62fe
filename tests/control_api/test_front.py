"""The TCP port over real sockets: who gets in, who does not, and what a browser may be talked into."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from hatchway.control_api.app import Beside, make_app, serve
from hatchway.control_api.front import SECURITY_HEADERS
from hatchway.control_api.listener import Listener
from hatchway.errors import GatewayError
from hatchway.settings import Settings

from .memory_plane import MemoryPlane, an_api


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        found = Settings(home=tmp_path / "home", runtime_dir=Path(runtime) / "r" / "h", dashboard_port=0)
        found.prepare()
        yield found


@pytest.fixture
async def listener(settings: Settings, tmp_path: Path) -> AsyncIterator[Listener]:
    """The TCP port of a plane with one API, and the unix socket beside it."""
    plane, found = MemoryPlane(tmp_path), Listener(settings)
    plane.change(an_api())
    found.open()
    beside = Beside(found.socket, found.app(make_app(plane, accepts_paths=False)))
    task = asyncio.create_task(serve(make_app(plane), settings.engine_socket, beside))
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def stranger(listener: Listener) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=listener.url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
async def browser(listener: Listener, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with a session, that says what a browser says."""
    entered = await stranger.get(listener.link())
    assert entered.status_code == 200
    stranger.headers.update({"origin": listener.url, "sec-fetch-site": "same-origin"})
    return stranger


def token(settings: Settings) -> dict[str, str]:
    return {"authorization": f"Bearer {settings.dashboard_token.read_text().strip()}"}


# --- who gets in -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/v1/apis", "/v1/status", "/v1/nothing", "/v1/openapi.json"])
async def test_without_the_token_nothing_is_told(stranger: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eA=="}):
        answer = await stranger.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (401, "access")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_without_a_session_the_page_says_how_to_get_one(stranger: httpx.AsyncClient) -> None:
    for path in ("/", "/apis/iris", "/enter?code=used-up"):
        answer = await stranger.get(path)
        assert answer.status_code == 401
        assert "hatchway dashboard" in answer.text


async def test_the_token_opens_the_control_api(stranger: httpx.AsyncClient, settings: Settings) -> None:
    answer = await stranger.get("/v1/apis", headers=token(settings))
    assert [api["name"] for api in answer.json()] == ["iris"]
    # A program's own name for this port is fine, since only a program knows the token.
    answer = await stranger.get("/v1/apis", headers={**token(settings), "host": "models.example.com"})
    assert answer.status_code == 200


async def test_a_link_opens_a_session_once(listener: Listener, stranger: httpx.AsyncClient) -> None:
    link = listener.link()
    assert (await stranger.head(link)).status_code == 405
    cookie = (await stranger.get(link)).headers["set-cookie"]
    assert re.match(r"hatchway_[0-9a-f]{12}=", cookie)
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    page = await stranger.get("/apis/iris")
    assert (page.status_code, 'id="app"' in page.text) == (200, True)
    assert (await stranger.get("/v1/apis")).status_code == 200
    stranger.cookies.clear()
    assert (await stranger.get(link)).status_code == 401


# --- what a browser may be talked into -------------------------------------------------------------------------
async def test_a_name_that_a_strangers_dns_points_here_is_refused(browser: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/apis", "/metrics"):
        assert (await browser.get(path, headers={"host": "evil.example.com:8485"})).status_code == 403
    for host in ("localhost:1", "127.0.0.1", "[::1]:8485"):
        assert (await browser.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example.com"},
        {"origin": "http://127.0.0.1:8484"},  # an API's own page: the same site, another origin
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(browser: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await browser.post("/v1/apis/iris/stop", headers=headers)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "access")
    assert (await browser.get("/v1/apis", headers=headers)).status_code == 403
    assert (await browser.get("/v1/apis/iris")).json()["status"] == "live"


async def test_a_change_without_an_origin_is_refused(browser: httpx.AsyncClient) -> None:
    del browser.headers["origin"]
    assert (await browser.get("/v1/apis")).status_code == 200
    assert (await browser.post("/v1/apis/iris/stop")).status_code == 403


async def test_a_cookie_that_another_server_of_this_host_set_in_its_place_ends_no_session(
    browser: httpx.AsyncClient,
) -> None:
    ((name, value),) = browser.cookies.items()
    cookie = f'theirs={{"json": "[]"}}; {name}=tossed; {name}={value}'
    browser.cookies.clear()
    assert (await browser.get("/v1/apis", headers={"cookie": cookie})).status_code == 200
    assert (await browser.get("/v1/apis", headers={"cookie": f"{name}=tossed"})).status_code == 401


async def test_a_session_acts_as_the_user_of_the_home(browser: httpx.AsyncClient) -> None:
    answer = await browser.post(
        "/v1/apis/iris/scale", json={"replicas": 2, "for_s": 60}, headers={"x-hatchway-by": "somebody"}
    )
    assert "@" in answer.json()["scaled"]["by"]


async def test_every_answer_tells_browsers_to_be_careful(stranger: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/apis", "/metrics", "/static/nothing.js"):
        headers = (await stranger.get(path)).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


# --- what is there ---------------------------------------------------------------------------------------------
async def test_scripts_are_kept_by_browsers_because_their_address_names_their_content(
    browser: httpx.AsyncClient,
) -> None:
    page = (await browser.get("/")).text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        answer = await browser.get(path)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in (
            "text/javascript",
            "text/css",
            "image/svg+xml",
            "font/woff2",
        )
    assert (await browser.get("/static/../access.py")).status_code in (200, 404)  # the page, or nothing
    assert (await browser.post("/")).status_code == 405


async def test_metrics_are_for_this_machine_and_no_page(stranger: httpx.AsyncClient, settings: Settings) -> None:
    answer = await stranger.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert (await stranger.get("/metrics", headers={"origin": "http://evil.example.com"})).status_code == 401
    assert (await stranger.get("/metrics", headers={"host": "a.example.com", **token(settings)})).status_code == 200


async def test_programs_and_files_of_this_machine_are_not_named_here(
    stranger: httpx.AsyncClient, settings: Settings
) -> None:
    asked = {"mode": "handover", "python": "/tmp/x"}
    assert (await stranger.post("/v1/shutdown", json=asked, headers=token(settings))).status_code == 400
    asked_blobs = {"paths": {"0" * 64: "/etc/passwd"}}
    assert (await stranger.post("/v1/blobs", json=asked_blobs, headers=token(settings))).status_code == 400


async def test_the_engines_own_socket_asks_for_nothing(listener: Listener, settings: Settings) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(settings.engine_socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        assert (await client.get("/v1/apis")).status_code == 200


# --- the port --------------------------------------------------------------------------------------------------
async def test_the_port_is_remembered(listener: Listener, settings: Settings) -> None:
    port = listener.port
    listener.socket.close()
    again = Listener(settings)
    again.open()
    assert again.port == port
    again.socket.close()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        wanted = Settings(settings.home, settings.runtime_dir, dashboard_port=other.getsockname()[1])
        with pytest.raises(GatewayError, match="is taken") as caught:
            Listener(wanted).open()
    assert "HATCHWAY_DASHBOARD_PORT" in str(caught.value.hint)
