"""Requests over a real unix socket: what each operation answers, and what every kind of failure looks like."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hatchway.control_api.operations import OPERATIONS
from hatchway.spec.status import ScalingStep

from .memory_plane import MemoryPlane, a_line, a_report, an_api, served

SHA = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
async def plane(tmp_path: Path) -> MemoryPlane:
    return MemoryPlane(tmp_path)


@pytest.fixture
async def http(plane: MemoryPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with served(plane) as socket, connected(socket) as client:
        yield client


def connected(socket: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://engine", timeout=10)


def a_request(*paths: str, **fields: Any) -> dict[str, Any]:
    files = [{"path": path, "mode": 0o644, "size": 3, "sha256": SHA} for path in paths]
    interpreter = {"executable": "/usr/bin/python3", "version": "3.11.7", "abi": "cpython-311"}
    api = {"document": {"name": "iris"}, "source": {"files": files, "interpreter": interpreter}}
    return {"apis": [{**api, **fields}]}


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def test_status_and_apis_are_told_as_the_contract_says(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api("b"))
    plane.change(an_api("a"))
    assert (await http.get("/v1/status")).json() == (await plane.status()).model_dump(mode="json")
    assert [api["name"] for api in (await http.get("/v1/apis")).json()] == ["a", "b"]
    assert (await http.get("/v1/apis/a")).json() == an_api("a").model_dump(mode="json")


async def test_stop_start_and_delete_answer_the_status_after(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    assert (await http.post("/v1/apis/iris/stop")).json()["status"] == "stopped"
    assert (await http.post("/v1/apis/iris/start")).json()["status"] == "live"
    assert (await http.delete("/v1/apis/iris")).json()["status"] == "deleting"
    assert (await http.get("/v1/apis")).json() == []


async def test_verbs_reach_the_plane_with_who_asks(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    http.headers["x-hatchway-by"] = "%C3%A4da@lab%0A" + "x" * 300
    assert (await http.post("/v1/apis/iris/restart")).json()["action"] == "restarted"
    assert (await http.post("/v1/apis/iris/rollback", json={"to": "r1"})).json()["revision"] == "r1"
    assert (await http.post("/v1/apis/iris/scale", json={"replicas": 3, "for_s": 60})).json()["scaled"]["replicas"] == 3
    assert (await http.get("/v1/apis/iris/history")).json() == []
    assert (await http.get("/v1/apis/iris/scaling")).json() == []
    (by,) = set(plane.asked_by)
    assert by.startswith("äda@labxxx")
    assert len(by) == 200


async def test_a_timeline_is_of_the_window_that_is_asked_for(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    assert (await http.get("/v1/apis/iris/timeline")).json()["start"] == 900.0
    assert (await http.get("/v1/apis/iris/timeline", params={"window": "1h"})).json()["start"] == 3600.0
    answer = await http.get("/v1/apis/iris/timeline", params={"window": "long"})
    assert answer.status_code == 400
    assert "window=long is not an age" in answer.json()["error"]["message"]


async def test_timelines_are_told_by_api(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/timelines")).json()["iris"]["requests_per_s"] == [1.5]


async def test_a_report_is_of_the_window_that_is_asked_for(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    assert (await http.get("/v1/apis/iris/monitoring")).json()["error"]["kind"] == "monitoring"
    plane.report = a_report()
    assert (await http.get("/v1/apis/iris/monitoring")).json()["window_s"] == 3600
    assert (await http.get("/v1/apis/iris/monitoring?window=7d")).json()["window_s"] == 7 * 86400
    wrong = await http.get("/v1/apis/iris/monitoring?window=soon")
    assert (wrong.status_code, wrong.json()["error"]["message"]) == (400, "window=soon is not an age")


async def test_a_change_is_accepted_by_who_asks(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    plane.report = a_report(verdict="drift")
    url, asked_by = "/v1/apis/iris/monitoring/accept", {"x-hatchway-by": "ada%40lab"}
    found = (await http.post(url, json={"fields": ["output"]}, headers=asked_by)).json()
    assert (found["by"], found["fields"], found["undone_at"]) == ("ada@lab", ["output"], None)
    assert (await http.post(url, json={"undo": True})).json()["undone_at"] is not None
    assert (await http.post(url, json={"fields": []})).status_code == 400
    assert (await http.post("/v1/apis/x/monitoring/accept", json={})).status_code == 404
    plane.report = None
    assert (await http.post(url, json={})).json()["error"]["kind"] == "conflict"


@pytest.mark.parametrize("body", [{}, {"replicas": 1, "for_s": -1}, {"for_s": "1h"}, {"for_s": 1, "extra": 1}])
async def test_a_wrong_scale_is_a_400(http: httpx.AsyncClient, plane: MemoryPlane, body: dict[str, Any]) -> None:
    plane.change(an_api())
    assert (await http.post("/v1/apis/iris/scale", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/apis/x"),
        ("GET", "/v1/apis/x/history"),
        ("GET", "/v1/apis/x/scaling"),
        ("GET", "/v1/apis/x/timeline"),
        ("GET", "/v1/apis/x/monitoring"),
        ("POST", "/v1/apis/x/restart"),
        ("GET", "/v1/apis/x/watch"),
        ("GET", "/v1/apis/x/logs"),
        ("POST", "/v1/apis/x/start"),
        ("POST", "/v1/apis/x/stop"),
        ("DELETE", "/v1/apis/x"),
    ],
)
async def test_an_unknown_api_is_a_404_with_what_to_do(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "kind": "not_found",
        "message": "there is no API named x",
        "hint": "`hatchway get` lists what is deployed",
    }


async def test_an_unknown_path_or_method_is_json_too(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v2")).json()["error"]["kind"] == "not_found"
    answer = await http.delete("/v1/status")
    assert answer.status_code == 405
    assert answer.json()["error"]["kind"] == "usage"


async def test_an_unexpected_failure_tells_an_id_and_logs_the_traceback(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "hatchway"):
        answer = await http.post("/v1/shutdown", json={"mode": "down", "python": "broken"})
    assert answer.status_code == 500
    failure = answer.json()["error"]["id"]
    assert failure in answer.json()["error"]["message"]
    assert "secret detail" not in answer.text
    assert failure in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"apis": 1}', b'{"apis": [], "extra": 1}', b"\xff"])
async def test_a_body_that_is_not_as_described_is_a_400(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/v1/deploy", content=body)
    assert answer.status_code == 400
    assert "DeployRequest" in answer.json()["error"]["message"]


async def test_a_wrong_body_is_not_repeated_in_the_error(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/deploy", json=a_request("a", variables={"TOKEN": ["s3cret"]}))
    assert answer.status_code == 400
    assert "variables.TOKEN" in answer.text
    assert "s3cret" not in answer.text


async def test_a_blob_is_uploaded_once_and_deployed(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    asked = {"hashes": [SHA]}
    assert (await http.post("/v1/blobs/missing", json=asked)).json() == {"missing": [SHA]}
    assert (await http.put(f"/v1/blobs/{SHA}", content=b"abc")).status_code == 200
    assert (await http.post("/v1/blobs/missing", json=asked)).json() == {"missing": []}
    answer = await http.post("/v1/deploy", json=a_request("handler.py"))
    assert answer.json()[0]["action"] == "created"
    assert plane.requests[0].apis[0].source.files[0].path == "handler.py"


async def test_a_deploy_without_its_files_is_a_conflict(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/deploy", json=a_request("handler.py"))).status_code == 409


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
async def test_a_manifest_that_leaves_the_project_is_refused(
    http: httpx.AsyncClient, path: str, plane: MemoryPlane
) -> None:
    answer = await http.post("/v1/deploy", json=a_request(path))
    assert answer.status_code == 422
    assert path in answer.json()["error"]["problems"][0]
    assert plane.requests == []


async def test_a_blob_with_the_wrong_content_leaves_nothing(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    assert (await http.put(f"/v1/blobs/{SHA}", content=b"abd")).status_code == 409
    assert (await http.put("/v1/blobs/xyz", content=b"abc")).status_code == 400
    assert [path for path in plane.blobs.folder.rglob("*") if path.is_file()] == []


async def test_an_upload_that_is_cut_off_leaves_nothing(plane: MemoryPlane) -> None:
    async with served(plane) as socket:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(f"PUT /v1/blobs/{SHA} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc".encode())
        await writer.drain()
        await plane.upload_begun.wait()
        writer.close()
        await writer.wait_closed()
        await plane.upload_ended.wait()
        assert [path for path in plane.blobs.folder.rglob("*") if path.is_file()] == []
        assert plane.uploads == []
        assert reader.at_eof()


async def test_a_local_file_is_taken_by_its_path(http: httpx.AsyncClient, plane: MemoryPlane, tmp_path: Path) -> None:
    source = tmp_path / "mödel 100%.bin"
    source.write_bytes(b"abc")
    answer = await http.post("/v1/blobs", json={"paths": {SHA: quote(str(source))}})
    assert answer.status_code == 200
    assert plane.uploads == [f"path {source}"]
    answer = await http.post("/v1/blobs", json={"paths": {SHA: "relative"}})
    assert answer.status_code == 400
    answer = await http.post("/v1/blobs", json={"paths": {f"{number:064x}": "/x" for number in range(1001)}})
    assert answer.status_code == 400


async def test_a_path_is_refused_where_others_can_connect(plane: MemoryPlane) -> None:
    async with served(plane, accepts_paths=False) as socket, connected(socket) as http:
        answer = await http.post("/v1/blobs", json={"paths": {SHA: "/etc/passwd"}})
    assert answer.status_code == 400
    assert plane.uploads == []


async def test_watching_tells_now_then_changes_then_the_end(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api(status="starting"))
    seen = []
    async with http.stream("GET", "/v1/apis/iris/watch") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for name, data in events(response):
            seen.append((name, data.get("status")))
            if len(seen) == 1:
                plane.change(an_api(status="live"))
            elif len(seen) == 2:
                plane.change(gone="iris")
    assert seen == [("status", "starting"), ("status", "live"), ("deleted", None)]


async def test_watching_can_bring_new_log_lines(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    plane.change(line=a_line("loading"))
    before = time.time()
    seen = {}
    async with http.stream("GET", "/v1/apis/iris/watch?logs=1") as response:
        async for name, data in events(response):
            seen[name] = data
            if {"status", "log"} <= seen.keys():
                break
    assert seen["log"]["message"] == "loading"
    assert before <= plane.logs_asked[0]["since"] <= time.time()


async def test_log_lines_come_as_json_lines_with_their_filters(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    for message in ("a", "b\nc"):
        plane.change(line=a_line(message))
    now = time.time()
    answer = await http.get("/v1/apis/iris/logs?replica=iris-1&request_id=q&since=10m")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    assert [line["message"] for line in lines] == ["a", "b\nc"]
    asked = plane.logs_asked[0]
    assert (asked["replica"], asked["request_id"], asked["follow"]) == ("iris-1", "q", False)
    assert now - 600 <= asked["since"] <= time.time() - 600


async def test_following_a_log_waits_for_more(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    plane.change(line=a_line("first"))
    messages = []
    async with http.stream("GET", "/v1/apis/iris/logs?follow=1") as response:
        async for line in response.aiter_lines():
            if line:
                messages.append(json.loads(line)["message"])
                if len(messages) == 2:
                    break
                plane.change(line=a_line("second"))
    assert messages == ["first", "second"]


async def test_history_and_decisions_can_be_asked_for_in_part(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api("iris"))
    step = {"at": "", "before": 1, "message": "", "in_flight": None, "average": None, "target": 1.0}
    plane.steps = [ScalingStep(replicas=number, **step) for number in range(5)]  # type: ignore[arg-type]
    answer = await http.get("/v1/apis/iris/scaling?limit=2")
    assert [step["replicas"] for step in answer.json()] == [0, 1]
    assert len((await http.get("/v1/apis/iris/scaling")).json()) == 5
    assert (await http.get("/v1/apis/iris/history?limit=0")).status_code == 400


async def test_an_answer_of_limited_size_ends_when_it_is_full(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api("iris"))
    control_characters = "\x01" * 1_000_000  # six bytes each, as JSON
    for number in range(5):
        plane.change(line=a_line(f"{number}{control_characters}"))
    for follow in ("", "&follow=1"):
        answer = await http.get(f"/v1/apis/iris/logs?max_bytes=200000{follow}")
        assert len(answer.content) <= 200_010  # with the empty lines that keep it alive
        lines = [json.loads(text) for text in answer.text.splitlines() if text]
        assert [line["message"][0] for line in lines] == ["0", "1"]
        assert lines[0]["message"].endswith("characters more")
    for wrong in ("1000", "many", "-200000", "²00000"):
        assert (await http.get(f"/v1/apis/iris/logs?max_bytes={wrong}")).status_code == 400


async def test_a_log_that_cannot_be_read_ends_with_the_error(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    plane.change(an_api())
    answer = await http.get("/v1/apis/iris/logs?replica=nobody")
    assert json.loads(answer.text.splitlines()[-1])["error"]["kind"] == "not_found"
    answer = await http.get("/v1/apis/iris/logs?replica=broken")
    assert json.loads(answer.text.splitlines()[-1])["error"]["kind"] == "error"
    assert "secret detail" not in answer.text
    assert (await http.get("/v1/apis/iris/logs?since=soon")).status_code == 400


async def test_prune_and_shutdown_reach_the_plane(http: httpx.AsyncClient, plane: MemoryPlane) -> None:
    await http.put(f"/v1/blobs/{SHA}", content=b"abc")
    assert (await http.post("/v1/prune")).json() == {"blobs": 3}
    assert (await http.post("/v1/shutdown", json={"mode": "handover", "python": "/x/python"})).json() == {"ok": True}
    assert plane.shutdowns == [("handover", "/x/python")]
    assert (await http.post("/v1/shutdown", json={"mode": "explode"})).status_code == 400


async def test_the_openapi_document_has_every_operation_and_no_dangling_reference(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/openapi.json")
    document = answer.json()
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert found == {(operation.method, operation.path) for operation in OPERATIONS}
    names = {part.split('"')[0] for part in answer.text.split("#/components/schemas/")[1:]}
    assert {"ApiStatus", "DeployRequest", "ErrorAnswer"} <= names <= document["components"]["schemas"].keys()
