from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

from hatchway.cli.deploy import Targets, read_targets
from hatchway.errors import UsageError
from hatchway.spec.status import ApiStatus, Condition
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import a_line

KEYS = {"name", "kind", "status", "revision", "endpoint", "message"}


def failing(api: ApiStatus) -> list[ApiStatus]:
    starting = api.model_copy(update={"status": "starting", "reason": "Starting"})
    message = "handler.py:1: No module named 'torch'"
    return [starting, api.model_copy(update={"status": "failed", "reason": "ImportError", "message": message})]


def failing_update(api: ApiStatus) -> list[ApiStatus]:
    not_updated = Condition(type="Updated", state="false", reason="ImportError", message="No module named 'torch'")
    return [api.model_copy(update={"conditions": (not_updated,)})]


def slow(api: ApiStatus) -> list[ApiStatus]:
    return [api.model_copy(update={"status": "starting", "reason": "Loading"})]


# --- flags -> calls --------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("project")
def test_no_argument_is_the_project_here() -> None:
    assert read_targets([]) == Targets()


@pytest.mark.usefixtures("project")
def test_a_name_means_an_api_of_the_yaml_here_and_may_be_written_with_underscores() -> None:
    assert read_targets(["recommendation_engine"]) == Targets((), ("recommendation-engine",))


def test_a_folder_without_a_project_does_not_hide_an_api_of_that_name(project: Path) -> None:
    (project / "iris").mkdir()
    assert read_targets(["iris"]) == Targets((), ("iris",))
    (project / "iris/hatchway.yaml").write_text("")
    assert read_targets(["iris"]) == Targets((Path("iris"),))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("path", ["hatchway.yaml", "missing.yaml", ".", "./iris", "models/iris"])
def test_what_looks_like_a_path_is_one(path: str) -> None:
    assert read_targets([path]) == Targets((Path(path),))


@pytest.mark.usefixtures("project")
def test_names_and_paths_do_not_mix() -> None:
    with pytest.raises(UsageError, match="iris is an API of"):
        read_targets(["iris", "hatchway.yaml"])


@pytest.mark.usefixtures("project")
def test_only_the_named_api_is_deployed(cli: CommandLine) -> None:
    assert cli.run("deploy", "recommendation_engine").code == 0
    (request,) = cli.engine.plane.requests
    assert [api.document["name"] for api in request.apis] == ["recommendation-engine"]


# --- answers -> output -----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("project")
def test_json_has_the_keys_of_the_contract(cli: CommandLine) -> None:
    done = cli.run("deploy", "-o", "json")
    assert done.code == 0
    assert [result["name"] for result in done.json] == ["iris", "recommendation-engine"]
    assert all(result.keys() >= KEYS for result in done.json)
    assert {result["status"] for result in done.json} == {"live"}
    assert done.stderr == ""


@pytest.mark.usefixtures("project")
def test_yaml_is_the_same(cli: CommandLine) -> None:
    done = cli.run("deploy", "-o", "yaml", "iris")
    assert yaml.safe_load(done.stdout)[0].keys() >= KEYS


def test_it_ends_with_the_url_and_a_filled_in_curl_line(cli: CommandLine, project: Path) -> None:
    cli.engine.plane.lives_by = lambda api: [
        api.model_copy(update={"spec": {"handler": {"example": {"sepal_length": 5.1}}}})
    ]
    done = cli.run("deploy", "iris")
    assert done.code == 0
    *_, url, curl, docs = done.stdout.splitlines()
    assert url.strip().endswith("/iris")
    assert curl.strip().startswith("curl http")
    assert curl.endswith("""-d '{"sepal_length": 5.1}'""")
    assert docs.endswith("/iris/docs")


@pytest.mark.usefixtures("project")
def test_without_waiting_it_returns_what_the_engine_said_at_once(cli: CommandLine) -> None:
    cli.engine.plane.lives_by = slow
    done = cli.run("deploy", "--no-wait", "-o", "json")
    assert done.code == 0
    assert {result["status"] for result in done.json} == {"starting"}


@pytest.mark.usefixtures("project")
def test_json_is_printed_also_when_a_deploy_fails_and_no_other_result_is_hidden(cli: CommandLine) -> None:
    cli.engine.plane.lives_by = lambda api: failing(api) if api.name == "iris" else [api]
    done = cli.run("deploy", "-o", "json")
    assert done.code == 1
    assert [result["status"] for result in done.json] == ["failed", "live"]
    assert "No module named 'torch'" in done.json[0]["message"]
    assert "No module named 'torch'" in done.stderr


@pytest.mark.usefixtures("project")
def test_a_failed_update_says_that_the_old_revision_still_serves(cli: CommandLine) -> None:
    cli.engine.plane.lives_by = failing_update
    done = cli.run("deploy", "iris", "-o", "json")
    assert done.code == 1
    assert done.json[0]["status"] == "live"
    assert "iris is still live, on the revision it had before" in done.stderr
    assert "hatchway logs iris" in done.stderr


@pytest.mark.usefixtures("project")
def test_too_slow_is_exit_code_4_with_the_reason_and_json(cli: CommandLine) -> None:
    cli.engine.plane.lives_by = slow
    done = cli.run("deploy", "iris", "--timeout", "0.2", "-o", "json")
    assert done.code == 4
    assert done.json[0]["status"] == "starting"
    assert "iris was not live within 0.2 s: Loading" in done.stderr
    assert "hatchway get iris" in done.stderr


@pytest.mark.usefixtures("project")
def test_in_a_pipe_progress_is_plain_lines_on_stderr_with_the_handlers_own_words(cli: CommandLine) -> None:
    deployed: list[ApiStatus] = []

    def starting(api: ApiStatus) -> list[ApiStatus]:
        deployed.append(api)
        return [api.model_copy(update={"status": "starting", "reason": "Starting"})]

    def go_on() -> None:
        """A word once the status was told, and the end once the word was."""
        plane = cli.engine.plane
        plane.watched.get(timeout=20)
        cli.engine.change(line=a_line("loading \x1b[31mthe model"))
        plane.watched.get(timeout=20)
        cli.engine.change(deployed[0])

    cli.engine.plane.lives_by = starting
    going_on = threading.Thread(target=go_on)
    going_on.start()
    done = cli.run("deploy", "iris")
    going_on.join()
    assert done.code == 0
    assert done.stderr.splitlines() == [
        "iris: starting",
        "iris: starting Starting",
        "iris | loading [31mthe model",
        "iris: live",
    ]
    assert "starting" not in done.stdout


@pytest.mark.usefixtures("project")
def test_a_dry_run_shows_the_plan_and_changes_nothing(cli: CommandLine) -> None:
    done = cli.run("deploy", "--dry-run")
    assert done.code == 0
    assert done.stdout.splitlines() == [
        "+ iris  create  revision r2",
        "+ recommendation-engine  create  revision r2",
        "2 of 2 would change; this was a dry run",
    ]
    assert cli.engine.plane.apis == {}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_force_reaches_the_engine(cli: CommandLine, flags: tuple[str, ...]) -> None:
    for more in ((), ("--force",)):
        assert cli.run("deploy", "iris", *flags, *more).code == 0
    assert [request.force for request in cli.engine.plane.requests] == [False, True]


def test_an_invalid_yaml_is_exit_code_2_with_every_mistake_on_stderr(cli: CommandLine, project: Path) -> None:
    (project / "hatchway.yaml").write_text("- name: Iris\n  handler: {path: handler.py}\n  comptue: {cpu: 1}\n")
    done = cli.run("deploy", "-o", "json")
    assert done.code == 2
    assert done.stdout == ""
    assert "hatchway.yaml:1" in done.stderr
    assert "hatchway.yaml:3" in done.stderr


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("target", ["nobody", "missing.yaml"])
def test_what_is_not_there_is_exit_code_3(cli: CommandLine, target: str) -> None:
    done = cli.run("deploy", target)
    assert done.code == 3
    assert target in done.stderr
