"""Both clients against a real server on a real socket, and a real HTTP server in the gateway's place."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hatchway import AsyncClient, Client
from hatchway.client import Hashing, LogSeen, ProgressEvent, StatusSeen, Uploading, outcome
from hatchway.errors import (
    DeployFailed,
    EngineUnavailable,
    HatchwayError,
    InvalidSpec,
    NotFound,
    PredictionFailed,
    TimedOut,
)
from hatchway.spec.status import ApiStatus, Condition, DeployResult, LogLine, RevisionStatus

from .control_api.memory_plane import MemoryPlane, RunningPlane, a_line, an_api, served, served_in_thread

YAML = "- name: iris\n  handler: {path: handler.py}\n- name: text\n  handler: {path: handler.py}\n"
HANDLER = "def predict(payload):\n    return payload\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment is the client's input: it names the home."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HATCHWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "hatchway.yaml").write_text(YAML)
    (folder / "handler.py").write_text(HANDLER)
    return folder


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningPlane]:
    with served_in_thread(tmp_path) as running:
        yield running


@pytest.fixture
def client(running: RunningPlane) -> Iterator[Client]:
    with Client(socket=running.socket) as client:
        yield client


@pytest.fixture
async def served_plane(tmp_path: Path) -> AsyncIterator[tuple[MemoryPlane, AsyncClient]]:
    plane = MemoryPlane(tmp_path)
    async with served(plane) as socket, AsyncClient(socket=socket) as client:
        yield plane, client


def becomes(*statuses: str, reason: str = "", message: str = "") -> Any:
    """What an API goes through after its deploy."""

    def lives(api: ApiStatus) -> list[ApiStatus]:
        return [api.model_copy(update={"status": s, "reason": reason, "message": message}) for s in statuses]

    return lives


# --- reading and changing --------------------------------------------------------------------------------------
def test_results_are_typed(client: Client, running: RunningPlane) -> None:
    running.plane.apis["iris"] = an_api()
    assert client.status().gateway.port == 8484
    assert client.list() == [an_api()]
    assert client.get("iris") == an_api()
    assert client.stop("iris").status == "stopped"
    assert client.start("iris").status == "live"
    assert client.delete("iris").status == "deleting"
    assert client.prune() == {"blobs": 0}
    client.shut_down("handover", python="/x/python")
    assert running.plane.shutdowns == [("handover", "/x/python")]


def test_an_unknown_api_is_not_found_with_its_hint(client: Client) -> None:
    with pytest.raises(NotFound, match="no API named x") as caught:
        client.get("x")
    assert caught.value.hint == "`hatchway get` lists what is deployed"
    with pytest.raises(NotFound):
        next(iter(client.watch("x")))
    with pytest.raises(NotFound):
        list(client.logs("x"))


@pytest.mark.parametrize("name", ["../status", "a/b", "?x", "#", "%2e%2e/status"])
def test_a_name_never_reaches_another_operation(client: Client, name: str) -> None:
    with pytest.raises(NotFound):
        client.get(name)


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # httpcore leaves a socket that did not connect to the GC
def test_without_an_engine_the_hint_says_how_to_start_it(tmp_path: Path) -> None:
    with Client(socket=tmp_path / "nobody") as client, pytest.raises(EngineUnavailable) as caught:
        client.status()
    assert "hatchway up" in (caught.value.hint or "")
    del caught
    gc.collect()  # here, where the warning is expected


def test_logs_come_filtered(client: Client, running: RunningPlane) -> None:
    running.plane.apis["iris"] = an_api()
    running.plane.lines += [a_line("a"), a_line("b")]
    assert [line.message for line in client.logs("iris", replica="r", request_id="q", since="10m")] == ["a", "b"]
    assert running.plane.logs_asked[0]["request_id"] == "q"
    with pytest.raises(NotFound, match="no replica"):
        list(client.logs("iris", replica="nobody"))


def test_following_a_log_waits_for_more(client: Client, running: RunningPlane) -> None:
    running.plane.apis["iris"] = an_api()
    running.plane.lines.append(a_line("first"))
    lines = iter(client.logs("iris", follow=True))
    assert next(lines).message == "first"
    running.change(line=a_line("second"))
    assert next(lines).message == "second"


def test_watching_ends_when_the_api_is_gone(client: Client, running: RunningPlane) -> None:
    running.plane.apis["iris"] = an_api(status="starting")
    seen = []
    for event in client.watch("iris"):
        assert isinstance(event, ApiStatus)
        seen.append(event.status)
        if len(seen) == 1:
            running.change(an_api(status="live"))
        else:
            running.change(gone="iris")
    assert seen == ["starting", "live"]


# --- deploying -------------------------------------------------------------------------------------------------
def test_a_deploy_sends_the_files_once_and_waits_until_live(
    client: Client, running: RunningPlane, project: Path
) -> None:
    running.plane.lives_by = becomes("starting", "live")
    running.plane.lines.append(a_line("loading"))
    events: list[ProgressEvent] = []
    results = client.deploy(project, on_progress=events.append)
    assert [(result.name, result.status, result.action) for result in results] == [
        ("iris", "live", "created"),
        ("text", "live", "created"),
    ]
    assert running.plane.uploads == [f"path {project / 'handler.py'}"]
    assert {type(event) for event in events} >= {Hashing, Uploading, StatusSeen}
    client.deploy(project)
    assert len(running.plane.uploads) == 1


def test_the_yaml_does_not_travel_and_variables_travel_apart(
    client: Client, running: RunningPlane, project: Path
) -> None:
    (project / ".env").write_text("TOKEN=s3cret\n")
    (project / "hatchway.yaml").write_text("name: iris\nhandler: {path: handler.py, env: {T: '${TOKEN}'}}\n")
    client.deploy(project / "hatchway.yaml", wait=False)
    (api,) = running.plane.requests[0].apis
    assert [file.path for file in api.source.files] == ["handler.py"]
    assert api.document["handler"]["env"] == {"T": "${TOKEN}"}
    assert api.variables == {"TOKEN": "s3cret"}


def test_names_choose_apis(client: Client, running: RunningPlane, project: Path) -> None:
    client.deploy(project, names=["text"])
    assert [api.document["name"] for api in running.plane.requests[0].apis] == ["text"]
    with pytest.raises(NotFound, match="nobody"):
        client.deploy(project, names=["nobody"])


def test_a_dry_run_changes_and_sends_nothing(client: Client, running: RunningPlane, project: Path) -> None:
    assert [result.action for result in client.deploy(project, dry_run=True)] == ["created", "created"]
    assert running.plane.uploads == []
    assert running.plane.apis == {}


def test_a_wrong_project_is_refused_before_anything_is_sent(
    client: Client, running: RunningPlane, project: Path
) -> None:
    (project / "handler.py").unlink()
    with pytest.raises(InvalidSpec):
        client.deploy(project)
    assert running.plane.requests == []


def test_an_api_that_fails_is_told_with_its_reason(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.lives_by = becomes("starting", "failed", reason="ImportError", message="No module named 'x'")
    with pytest.raises(DeployFailed, match=r"iris: ImportError: No module named 'x'"):
        client.deploy(project)


def test_an_api_that_does_not_become_live_times_out(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.lives_by = becomes("starting", reason="NoCapacity", message="2 cores, 8 wanted")
    with pytest.raises(TimedOut, match="NoCapacity: 2 cores"):
        client.deploy(project, timeout_s=0)


async def test_the_async_client_deploys_in_the_same_way(
    served_plane: tuple[MemoryPlane, AsyncClient], project: Path
) -> None:
    plane, client = served_plane
    plane.lives_by = becomes("starting", "live")
    results = await client.deploy(project)
    assert [result.status for result in results] == ["live", "live"]
    assert [api.name for api in await client.list()] == ["iris", "text"]
    plane.lives_by = becomes("failed", reason="InitFailed", message="boom")
    with pytest.raises(DeployFailed, match="InitFailed: boom"):
        await client.deploy(project)
    assert (await client.delete("iris")).status == "deleting"
    with pytest.raises(NotFound):
        await client.get("iris")


async def test_the_async_client_watches_and_reads_logs(served_plane: tuple[MemoryPlane, AsyncClient]) -> None:
    plane, client = served_plane
    plane.change(an_api())
    plane.change(line=a_line("hello"))
    seen: set[type] = set()
    async for event in client.watch("iris", logs=True):
        seen.add(type(event))
        if seen == {ApiStatus, LogLine}:
            plane.change(gone="iris")
    plane.change(an_api())
    assert [line.message async for line in client.logs("iris")] == ["hello"]


def test_log_lines_of_the_start_are_progress(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.lives_by = becomes("starting")
    running.plane.lines.append(a_line("loading the model"))
    messages = []

    def on_progress(event: ProgressEvent) -> None:
        if isinstance(event, LogSeen):
            messages.append(event.line.message)
            running.change(running.plane.apis[event.api].model_copy(update={"status": "live"}))

    client.deploy(project, names=["iris"], on_progress=on_progress)
    assert messages == ["loading the model"]


RESULT = DeployResult(
    name="iris", kind="RealtimeAPI", status="starting", revision="r1", endpoint="http://x/iris", message="created"
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "live"}, "live"),
        ({"status": "idle"}, "idle"),
        ({"status": "starting"}, None),
        ({"status": "updating"}, None),
        ({"conditions": (Condition(type="GatewayAccepted", state="unknown"),)}, None),
        ({"status": "failed", "reason": "CrashLoop", "message": "x"}, "CrashLoop: x"),
        (
            {"conditions": (Condition(type="Updated", state="false", reason="ImportError", message="x"),)},
            "ImportError: x",
        ),
        ({"conditions": (Condition(type="GatewayAccepted", state="false", reason="Refused", message="x"),)}, "Refused"),
        ({"status": "deleting"}, "took over"),
        ({"revision": "r2", "revisions": (RevisionStatus(id="r2", created_at="", active=True),)}, "took over"),
    ],
)
def test_what_became_of_a_deploy_is_read_from_the_status(fields: dict[str, Any], expected: str | None) -> None:
    if expected is None or expected in ("live", "idle"):
        decided = outcome(RESULT, an_api(**fields))
        assert (decided.status if decided else None) == expected
    else:
        with pytest.raises(DeployFailed, match=expected):
            outcome(RESULT, an_api(**fields))


# --- predicting ------------------------------------------------------------------------------------------------
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


async def test_an_engine_that_goes_away_ends_a_watch_with_an_error(tmp_path: Path) -> None:
    plane = MemoryPlane(tmp_path)
    plane.change(an_api())
    begun = asyncio.Event()

    async def watch(client: AsyncClient) -> None:
        async for _ in client.watch("iris"):
            begun.set()

    async with served(plane) as socket:
        client = AsyncClient(socket=socket)
        task = asyncio.create_task(watch(client))
        await begun.wait()
    with pytest.raises(HatchwayError):
        await task
    await client.close()
