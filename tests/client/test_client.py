"""Reading and changing APIs, watching them and their logs."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from hatchway import AsyncClient, Client
from hatchway.errors import EngineUnavailable, NotFound
from hatchway.spec.status import ApiStatus, LogLine
from tests.control_api.memory_plane import MemoryPlane, RunningPlane, a_line, a_report, an_api


def test_results_are_typed(client: Client, running: RunningPlane) -> None:
    running.plane.apis["iris"] = an_api()
    assert client.status().gateway.port == 8484
    assert client.list() == [an_api()]
    assert client.get("iris") == an_api()
    assert client.stop("iris").status == "stopped"
    assert client.start("iris").status == "live"
    assert client.restart("iris").status == "live"
    assert client.rollback("iris", to="r1", wait=False).status == "updating"
    assert client.scale("iris", 3, for_s=60).scaled is not None
    assert client.scale("iris", for_s=0).scaled is None
    assert client.history("iris") == []
    assert client.scaling("iris") == []
    running.plane.report = a_report()
    assert client.monitoring("iris", window_s=1e6) == a_report(window_s=1e6)
    running.plane.report = a_report(verdict="drift")
    assert client.accept("iris").fields == ("input.age",)
    assert client.accept("iris", fields=["input.b"]).fields == ("input.b",)
    assert client.undo_accept("iris").undone_at is not None
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


async def test_the_async_client_has_the_same_verbs(served_plane: tuple[MemoryPlane, AsyncClient]) -> None:
    plane, client = served_plane
    plane.change(an_api())
    assert (await client.restart("iris")).status == "live"
    assert (await client.rollback("iris")).revision == "r0"
    assert (await client.scale("iris", 3, for_s=60)).scaled is not None
    assert await client.history("iris") == []
    assert await client.scaling("iris") == []
    plane.report = a_report()
    assert await client.monitoring("iris") == a_report()
    plane.report = a_report(verdict="drift")
    assert (await client.accept("iris")).undone_at is None
    assert (await client.undo_accept("iris")).undone_at is not None
    assert all("@" in by for by in plane.asked_by)


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
