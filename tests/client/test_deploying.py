"""A deploy from the project's files to its end, and what is told on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hatchway import AsyncClient, Client
from hatchway.client import Hashing, LogSeen, ProgressEvent, StatusSeen, Uploading
from hatchway.client.deploying import MAX_BATCH, MAX_BATCH_BYTES, MAX_REPEATS, Deploy
from hatchway.client.model_checks import may_trust
from hatchway.client.progress import silent
from hatchway.errors import Conflict, DeployFailed, InvalidSpec, NotFound, TimedOut
from hatchway.spec.status import ApiStatus
from tests.control_api.memory_plane import MemoryPlane, RunningPlane, a_line


def becomes(*statuses: str, reason: str = "", message: str = "") -> Any:
    """What an API goes through after its deploy."""

    def lives(api: ApiStatus) -> list[ApiStatus]:
        return [api.model_copy(update={"status": s, "reason": reason, "message": message}) for s in statuses]

    return lives


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


def test_small_files_travel_many_at_a_time_and_a_large_one_by_itself(project: Path, tmp_path: Path) -> None:
    for number in range(MAX_BATCH + 1):
        (project / f"{number}.txt").write_text(str(number))
    with (project / "model.bin").open("wb") as file:
        file.truncate(MAX_BATCH_BYTES + 1)
    steps = Deploy((project,), None, None, may_trust(False), False, False, {}, tmp_path / "cache.db", silent).steps()
    wanted = next(steps).json["hashes"]
    sent = []
    call = steps.send(wanted)
    while call.path == "/v1/blobs":
        sent.append(call.json["paths"])
        call = steps.send(None)
    assert call.path == "/v1/deploy"
    assert sorted(sha256 for batch in sent for sha256 in batch) == sorted(wanted)
    assert [str(project / "model.bin")] in [list(batch.values()) for batch in sent]
    assert max(map(len, sent)) <= MAX_BATCH
    assert len(sent) <= 4


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


# --- a prune between the upload and the deploy -----------------------------------------------------------------
def test_files_that_were_pruned_are_sent_again(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.prunes_due = MAX_REPEATS
    assert [result.status for result in client.deploy(project)] == ["live", "live"]
    assert running.plane.uploads == [f"path {project / 'handler.py'}"] * (MAX_REPEATS + 1)


async def test_the_async_client_sends_them_again_too(
    served_plane: tuple[MemoryPlane, AsyncClient], project: Path
) -> None:
    plane, client = served_plane
    plane.prunes_due = 1
    assert [result.status for result in await client.deploy(project)] == ["live", "live"]


def test_files_are_not_sent_again_for_ever(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.prunes_due = 100
    with pytest.raises(Conflict, match="not uploaded"):
        client.deploy(project)
    assert len(running.plane.requests) == MAX_REPEATS + 1


def test_another_conflict_is_told_at_once(client: Client, running: RunningPlane, project: Path) -> None:
    running.plane.conflict = "endpoint /iris is served by another API"
    with pytest.raises(Conflict, match="served by another"):
        client.deploy(project)
    assert len(running.plane.requests) == 1
