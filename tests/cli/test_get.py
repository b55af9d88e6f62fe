from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hatchway.cli.get import detail_lines, list_lines
from hatchway.cli.output import Output
from hatchway.spec.status import ApiStatus, Condition, ReplicaCounts, ReplicaStatus, RevisionStatus
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import an_api

NOW = 1767225600.0 + 90  # 2026-01-01T00:01:30Z

KEYS = {
    "name", "kind", "status", "reason", "revision", "endpoint", "replicas", "in_flight", "conditions", "replica_list",
    "spec", "revisions",
}  # fmt: skip

BROKEN = an_api(
    "iris",
    status="live",
    reason="ImportError",
    replicas=ReplicaCounts(desired=2, ready=1, failed=1),
    updated_at="2026-01-01T00:00:00.000Z",
    message="update to 9f00 failed",
    conditions=(Condition(type="Updated", state="false", reason="ImportError", message="first\nsecond"),),
    replica_list=(
        ReplicaStatus(
            id="iris-1", pid=42, revision="r1", state="ready", started_at="2026-01-01T00:00:00.000Z", restarts=3,
            rss_bytes=120 << 20,
        ),
        ReplicaStatus(
            id="iris-2", pid=None, revision="r2", state="failed", started_at=None, restarts=0, rss_bytes=None,
            reason="ImportError", message="No module named torch\nmore",
        ),
    ),
    revisions=(
        RevisionStatus(id="r2", created_at="2026-01-01T00:01:00.000Z", active=True, git_commit="a" * 40),
        RevisionStatus(id="r1", created_at="2026-01-01T00:00:00.000Z", active=False),
    ),
)  # fmt: skip


def test_the_list_shows_reasons_only_when_there_are_any() -> None:
    out = Output.open()
    header, row = [line.plain for line in list_lines(out, [an_api()], NOW)]
    assert header.split()[:3] == ["NAME", "STATUS", "REPLICAS"]
    assert "REASON" not in header
    assert row.split() == ["iris", "live", "1/1", "0", "r1", "http://127.0.0.1:8484/iris"]
    header, row = [line.plain for line in list_lines(out, [BROKEN], NOW)]
    assert header.endswith("REASON")
    assert row.endswith("ImportError")
    assert "1m" in row


def test_everything_about_one_api_is_shown() -> None:
    text = "\n".join(line.plain for line in detail_lines(Output.open(), BROKEN, NOW, "curl it"))
    for shown in (
        "iris  live  ImportError", "update to 9f00 failed", "http://127.0.0.1:8484/iris", "1 of 2 ready, 1 failed",
        "second", "iris-1", "42", "120 MiB", "ImportError: No module named torch", "aaaaaaaaaaaa", "wanted",
        "curl it",
    ):  # fmt: skip
        assert shown in text


def test_the_json_of_one_api_has_the_keys_of_the_contract(cli: CommandLine) -> None:
    cli.engine.change(BROKEN)
    found = cli.run("get", "iris", "-o", "json").json
    assert found.keys() >= KEYS
    assert found["replicas"] == {"desired": 2, "ready": 1, "starting": 0, "failed": 1}
    assert found["conditions"][0].keys() == {"type", "state", "reason", "message"}
    assert found["replica_list"][0].keys() >= {"id", "pid", "revision", "state", "started_at", "restarts", "rss_bytes"}


def test_the_json_of_the_list_is_a_list_of_them(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    cli.engine.change(an_api("text"))
    found = cli.run("get", "-o", "json").json
    assert [api["name"] for api in found] == ["iris", "text"]
    assert all(api.keys() >= KEYS for api in found)


def test_a_name_may_be_written_with_underscores(cli: CommandLine) -> None:
    cli.engine.change(an_api("recommendation-engine"))
    assert "recommendation-engine  live" in cli.run("get", "recommendation_engine").stdout


def test_an_unknown_name_is_exit_code_3(cli: CommandLine) -> None:
    done = cli.run("get", "nobody", "-o", "json")
    assert (done.code, done.stdout) == (3, "")
    assert "there is no API named nobody" in done.stderr


def test_where_nothing_was_ever_deployed_no_engine_is_started(fresh: CommandLine) -> None:
    assert fresh.run("get", "-o", "json").json == []
    assert "nothing is deployed" in fresh.run("get").stdout
    assert fresh.run("get", "iris").code == 3
    assert not fresh.settings.home.exists()


@contextmanager
def changes_once_watched(cli: CommandLine, *statuses: ApiStatus) -> Iterator[None]:
    """Each status comes when the watcher has been given the one before; at last the API is gone."""

    def change() -> None:
        for status in statuses:
            cli.engine.plane.watched.get(timeout=20)
            cli.engine.change(status)
        cli.engine.plane.watched.get(timeout=20)
        cli.engine.change(gone="iris")

    changing = threading.Thread(target=change)
    changing.start()
    yield
    changing.join()


def test_watching_in_a_pipe_prints_a_line_per_change_until_the_api_is_gone(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris", status="starting", reason="Loading"))
    with changes_once_watched(cli, an_api("iris"), an_api("iris", in_flight=3)):
        done = cli.run("get", "iris", "--watch")
    assert done.stdout.splitlines() == [
        "iris: starting, 1/1 ready, revision r1, Loading",
        "iris: live, 1/1 ready, revision r1",
    ]
    assert "iris is deleted" in done.stderr


def test_watching_as_json_is_one_object_a_line(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris", status="starting"))
    with changes_once_watched(cli, an_api("iris")):
        lines = cli.run("get", "iris", "--watch", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["starting", "live"]
