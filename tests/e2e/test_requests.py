"""`hatchway why request ID`: what becomes of a request is known, whatever it was."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from hatchway import Client
from hatchway.errors import NotFound
from hatchway.spec.story import RequestStory
from tests.e2e.verbs import engine_socket, until
from tests.shell import Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.xdist_group("requests")]

HANDLER = """
import pathlib, time

class Handler:
    def handle_post(self, payload):
        print("got", payload)
        while "until" in payload and not pathlib.Path(payload["until"]).exists():
            time.sleep(0.01)
        if "sleep_s" in payload:
            time.sleep(payload["sleep_s"])
        return payload

class Together:
    def handle_post(self, payload):
        time.sleep(0.3)
        return payload
"""
YAML = """
- name: one
  handler: {path: handler.py, class: Handler, max_concurrency: 1, max_queue_length: 1}
  autoscaling: {min_replicas: 2, max_replicas: 2}
- name: together
  handler: {path: handler.py, class: Together, batching: {max_size: 8}}
- name: asleep
  handler: {path: handler.py, class: Handler}
  autoscaling: {min_replicas: 0, max_replicas: 1, window: 1s, downscale_stabilization_period: 0s}
"""


class Asker:
    """Sends requests, and asks the engine what became of them."""

    def __init__(self, shell: Shell, pool: ThreadPoolExecutor) -> None:
        self.shell = shell
        self.pool = pool
        self.gateway, self.engine = httpx.Client(timeout=30), Client(socket=engine_socket(shell))
        self.urls = {api.name: api.endpoint for api in self.engine.list()}

    def ask(self, api: str, name: str, payload: Any, **more: Any) -> int | None:
        """The answer's status; None: there was none in time."""
        headers = {"x-request-id": name, **more.pop("headers", {})}
        with contextlib.suppress(httpx.ReadTimeout):
            return self.gateway.post(self.urls[api], json=payload, headers=headers, **more).status_code
        return None

    def story(self, name: str, *outcomes: str) -> RequestStory:
        """As soon as a replica says one of these."""
        while True:
            with contextlib.suppress(NotFound):
                found = self.engine.story(name)
                if any(visit.outcome in outcomes for visit in found.visits):
                    return found


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "handler.py").write_text(HANDLER)
    (folder / "hatchway.yaml").write_text(YAML)
    with a_shell(folder) as shell, ThreadPoolExecutor(16) as pool:
        shell.run("hatchway deploy")
        asker = Asker(shell, pool)
        with asker.gateway, asker.engine:
            yield asker
        shell.run("hatchway down")


def test_of_what_went_well_place_and_prints_are_known(asker: Asker) -> None:
    asker.ask("one", "fine", {"a": 1})
    fine = asker.story("fine", "answered")
    (visit,) = fine.visits
    assert (visit.api, visit.status, visit.attempt) == ("one", 200, 1)
    assert [line.message for line in fine.lines] == ["got {'a': 1}"]
    assert fine.gateway == ()


def test_where_all_replicas_are_full_two_refuse(asker: Asker, tmp_path: Path) -> None:
    go = tmp_path / "go"
    busy = [asker.pool.submit(asker.ask, "one", f"busy-{number}", {"until": str(go)}) for number in range(4)]
    for number in range(4):
        asker.story(f"busy-{number}", "running", "waiting")
    assert asker.ask("one", "refused", {}) == 503
    story = asker.story("refused", "refused")
    assert [(visit.outcome, visit.attempt) for visit in story.visits] == [("refused", 1), ("refused", 2)]
    assert len({visit.replica for visit in story.visits}) == 2
    assert [(note.status, note.attempts) for note in story.gateway] == [(503, 2)]
    go.touch()
    assert [each.result() for each in busy] == [200] * 4


def test_out_of_time_and_out_of_patience_are_told_apart(asker: Asker) -> None:
    assert asker.ask("one", "late", {"sleep_s": 0.3}, headers={"x-request-timeout": "0.1"}) == 504
    (visit,) = asker.story("late", "timed_out").visits
    assert (visit.handler_s or 0) >= 0.1
    assert asker.ask("one", "left", {"sleep_s": 0.3}, timeout=0.1) is None
    assert asker.story("left", "client_left").gateway[0].flags == ("DC",)
    assert "the client left" in asker.shell.run("hatchway why request left").stdout


def test_of_a_batch_the_size_is_known(asker: Asker) -> None:
    list(asker.pool.map(lambda number: asker.ask("together", f"batch-{number}", {}), range(6)))
    sizes = [asker.story(f"batch-{number}", "answered").visits[0].batch_size or 0 for number in range(6)]
    assert max(sizes) > 1
    assert sizes.count(max(sizes)) >= max(sizes)


def test_who_was_held_knows_how_long(asker: Asker) -> None:
    until(asker.shell, lambda found: found["status"] == "idle" and not found["replica_list"], "asleep")
    asker.ask("asleep", "held", {})
    (visit,) = asker.story("held", "answered").visits
    assert (visit.held_s or 0) > 0


def test_of_a_request_whose_replica_died_the_gateway_and_the_log_know(asker: Asker) -> None:
    doomed = asker.pool.submit(asker.ask, "one", "doomed", {"sleep_s": 30})
    runs_in = asker.story("doomed", "running").visits[0].replica
    (pid,) = [each.pid for each in asker.engine.get("one").replica_list if each.id == runs_in]
    os.kill(pid or 0, signal.SIGKILL)
    assert (doomed.result() or 0) >= 500
    told = asker.engine.story("doomed")
    assert told.visits == ()
    assert (told.gateway[0].flags, told.gateway[0].replica) == (("UC",), runs_in)
    assert [line.message for line in told.lines] == ["got {'sleep_s': 30}"]


def test_who_is_not_known_is_not_found(asker: Asker) -> None:
    assert "nothing is known" in asker.shell.run("hatchway why request nobody", expect=3).stderr
