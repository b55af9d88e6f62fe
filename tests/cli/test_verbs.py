"""The short verbs: what each asks of the engine, and what it prints."""

from __future__ import annotations

import getpass
import json
import shutil
import signal
import socket
import subprocess
import time

import pytest

from hatchway import __version__
from hatchway.cli.output import format_moment
from hatchway.contract import PROCESS_VARIABLE
from hatchway.processes import Mark
from hatchway.spec.status import ApiStatus, Condition, HistoryEntry
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import NOON, a_line, an_api


# --- logs ------------------------------------------------------------------------------------------------------
def test_logs_show_time_replica_level_and_every_line_of_a_message(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.change(line=a_line("first\n  second\x07", time="2026-01-31T12:00:00.123Z"))
    done = cli.run("logs", "iris")
    assert done.stdout == "12:00:00.123  iris-1  INFO    first\n      second\n"


def test_logs_as_json_are_one_object_a_line(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.change(line=a_line("one\ntwo"))
    cli.engine.change(line=a_line("three"))
    lines = cli.run("logs", "iris", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["one\ntwo", "three"]


def test_filters_of_logs_are_asked_of_the_engine(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    assert cli.run("logs", "iris", "--replica", "iris-1", "--since", "10m", "--request-id", "abc").code == 0
    asked = cli.engine.plane.logs_asked[-1]
    assert (asked["replica"], asked["request_id"], asked["follow"]) == ("iris-1", "abc", False)
    assert asked["since"] is not None
    more = ["--revision", "r2", "--level", "WARNING", "--grep", "Out of", "--until", "2026-01-31T12:00:00"]
    assert cli.run("logs", "iris", *more).code == 0
    asked = cli.engine.plane.logs_asked[-1]
    assert (asked["revision"], asked["level"], asked["text"]) == ("r2", "warning", "Out of")
    assert asked["until"] == 1769860800


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nobody"], 3),
        (["iris", "--since", "yesterday"], 2),
        (["iris", "--level", "loud"], 2),
        (["iris", "--until", "1m", "-f"], 2),
    ],
)
def test_wrong_questions_about_logs(cli: CommandLine, arguments: list[str], code: int) -> None:
    cli.engine.change(an_api())
    assert cli.run("logs", *arguments).code == code


# --- stop, start, delete ---------------------------------------------------------------------------------------
def test_stop_and_start(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    assert cli.run("stop", "iris").code == 0
    assert cli.engine.plane.apis["iris"].status == "stopped"
    done = cli.run("start", "iris")
    assert done.code == 0
    assert done.stdout.startswith("iris is live")


@pytest.mark.parametrize("verb", ["stop", "start", "delete", "restart", "rollback", "history", "why"])
def test_an_unknown_name_is_exit_code_3(cli: CommandLine, verb: str) -> None:
    assert cli.run(verb, "nobody").code == 3


@pytest.mark.parametrize("verb", ["stop", "start", "delete", "logs", "restart", "rollback", "history", "why"])
def test_a_name_is_unknown_where_nothing_was_ever_deployed(fresh: CommandLine, verb: str) -> None:
    assert fresh.run(verb, "iris").code == 3
    assert not fresh.settings.home.exists()


def test_delete_does_not_ask_in_a_pipe(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    cli.engine.change(an_api("text-topics"))
    done = cli.run("delete", "iris", "text_topics")
    assert done.stdout == "iris is deleted\ntext-topics is deleted\n"
    assert cli.engine.plane.apis == {}


def test_one_wrong_name_deletes_nothing_and_the_names_there_are_are_told(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    done = cli.run("delete", "iris", "irsi", "--yes")
    assert done.code == 3
    assert "there is no API named irsi" in done.stderr
    assert "hint: there are: iris" in done.stderr
    assert "iris" in cli.engine.plane.apis


# --- restart, rollback ------------------------------------------------------------------------------------------
def slow(api: ApiStatus) -> list[ApiStatus]:
    return [api.model_copy(update={"status": "updating", "reason": "Restarting"})]


def failing(api: ApiStatus) -> list[ApiStatus]:
    updated = Condition(type="Updated", state="false", reason="ImportError", message="no torch")
    return [api.model_copy(update={"conditions": (updated,)})]


def test_a_restart_is_waited_for(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    done = cli.run("restart", "iris")
    assert done.code == 0
    assert done.stdout.startswith("iris is live  restarted, ")


def test_a_restart_that_fails_is_exit_code_1_and_says_what_serves(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.lives_by = failing
    done = cli.run("restart", "iris")
    assert done.code == 1
    assert "error: iris: ImportError: no torch" in done.stderr
    assert "iris is still live, with replicas from before" in done.stderr


@pytest.mark.parametrize("verb", ["restart", "rollback"])
def test_too_slow_is_exit_code_4_and_without_waiting_it_is_0(cli: CommandLine, verb: str) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.lives_by = slow
    done = cli.run(verb, "iris", "--timeout", "0.1", "-o", "json")
    assert done.code == 4
    assert done.json["status"] == "updating"
    assert "within 0.1 s: Restarting" in done.stderr
    assert cli.run(verb, "iris", "--no-wait").code == 0


def test_a_rollback_says_to_what_and_which_settings_stay(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    done = cli.run("rollback", "iris")
    assert done.code == 0
    assert done.stdout.startswith("iris is live  rolled back to revision r0, ")
    assert "stays as it is now: autoscaling.max_replicas 4 -> 8" in done.stdout


def test_a_rollback_to_an_unknown_revision_is_exit_code_3_with_those_there_are(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    assert cli.run("rollback", "iris", "--to", "r1", "-o", "json").json["revision"] == "r1"
    done = cli.run("rollback", "iris", "--to", "nope")
    assert done.code == 3
    assert "there are: r1" in done.stderr


# --- scale -----------------------------------------------------------------------------------------------------
def test_scaling_says_until_when_and_get_shows_it(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    until = format_moment(NOON, time.time())
    assert cli.run("scale", "iris", "3", "--for", "2h").stdout == f"iris is scaled to 3 until {until}\n"
    shown = cli.run("get", "iris").stdout
    assert f"to 3 until {until} by {getpass.getuser()}@" in shown
    assert cli.run("get", "iris", "-o", "json").json["scaled"]["replicas"] == 3
    assert cli.run("scale", "iris", "--for", "0").stdout == "iris is no longer scaled to a fixed number\n"
    assert cli.run("scale", "iris", "3", "--for", "30m", "-o", "json").json["scaled"]["until"] == NOON


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["iris", "3", "--for", "soon"], "--for soon is not a duration"),
        (["iris", "101", "--for", "1h"], "autoscaling.max_replicas"),
        (["iris", "3"], "--for"),
    ],
)
def test_wrong_numbers_and_durations_are_exit_code_2(cli: CommandLine, arguments: list[str], told: str) -> None:
    cli.engine.change(an_api())
    done = cli.run("scale", *arguments)
    assert done.code == 2
    assert told in done.stderr


# --- history ---------------------------------------------------------------------------------------------------
FAILED = HistoryEntry(
    at="2026-01-01T00:00:00.000Z", by="ada@lab", action="rolled_back", revision="r1", git_commit="a" * 40,
    changes=("handler.py changed", "python 3.11.7 -> 3.12.1"), outcome="failed", took_s=2.5, reason="ImportError",
    message="no torch",
)  # fmt: skip


def test_the_history_shows_who_what_and_what_became_of_it(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    scaled = FAILED.model_copy(
        update={"action": "scaled", "outcome": "done", "took_s": None, "reason": "", "changes": ()}
    )
    cli.engine.plane.entries = [FAILED, scaled]
    _, first, second, why, last = cli.run("history", "iris").stdout.splitlines()
    for shown in ("ada@lab", "rolled back", "r1", "a" * 12, "failed after 2.5 s", "handler.py changed"):
        assert shown in first
    assert second.strip() == "python 3.11.7 -> 3.12.1"
    assert why.strip() == "ImportError: no torch"
    assert "scaled" in last
    assert last.endswith("done")
    found = cli.run("history", "iris", "-o", "json").json
    assert found[0] == FAILED.model_dump(mode="json")
    assert found[0].keys() == HISTORY_KEYS


HISTORY_KEYS = {
    "at", "by", "action", "revision", "git_commit", "changes", "outcome", "took_s", "reason", "message",
}  # fmt: skip


def test_the_engine_is_told_who_asks(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.run("stop", "iris")
    assert cli.engine.plane.asked_by == [f"{getpass.getuser()}@{socket.gethostname()}"]


# --- up, down, status, prune, version --------------------------------------------------------------------------
def test_status_as_json_has_the_keys_of_the_contract(cli: CommandLine) -> None:
    found = cli.run("status", "-o", "json").json
    assert found.keys() >= {"engine", "gateway", "home", "apis"}
    assert found["engine"].keys() == {"pid", "version"}
    assert found["gateway"].keys() >= {"pid", "port"}


def test_status_for_people(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    stdout = cli.run("status").stdout
    assert stdout.startswith("engine")
    for shown in ("running", "http://127.0.0.1:8484", "1 live", "blobs 10 B"):
        assert shown in stdout


def test_status_and_down_never_start_the_engine(fresh: CommandLine) -> None:
    done = fresh.run("status", "-o", "json")
    assert done.code == 0
    assert done.json["engine"] is None
    assert done.json["gateway"] is None
    assert "not running" in fresh.run("status").stdout
    assert fresh.run("down").stdout == "hatchway is not running\n"
    assert not fresh.settings.home.exists()


def test_down_asks_the_engine_to_end_everything_and_says_what_comes_back(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    done = cli.run("down")
    assert done.stdout == "hatchway is down; 1 API comes back with: hatchway up\n"
    assert cli.engine.plane.shutdowns == [("down", None)]


def test_down_asks_an_engine_that_cannot_say_how_it_is(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.fails = True
    done = cli.run("down")
    assert (done.code, done.stdout) == (0, "hatchway is down\n")
    assert cli.engine.plane.shutdowns == [("down", None)]
    assert not cli.settings.runtime_dir.exists()


def test_of_a_home_that_was_removed_down_promises_nothing(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    shutil.rmtree(cli.settings.home)
    done = cli.run("down")
    assert done.stdout == f"hatchway is down; nothing comes back, because {cli.settings.home} was removed\n"


def test_a_home_that_was_removed_is_told_with_the_way_out(cli: CommandLine) -> None:
    shutil.rmtree(cli.settings.home)
    for command in (["get"], ["get", "iris"], ["up"]):
        done = cli.run(*command)
        assert done.code == 1
        assert "was removed while hatchway runs in it" in done.stderr
        assert "hatchway down" in done.stderr
    done = cli.run("status", "-o", "json")
    assert (done.code, done.json["apis"]) == (0, {"live": 0})
    assert "hatchway down" in done.stderr
    assert not cli.settings.home.exists()


def test_processes_without_an_engine_are_seen_and_ended(fresh: CommandLine) -> None:
    mark = Mark(fresh.settings.home_hash, "replica", "r")
    with subprocess.Popen(["sleep", "1000"], env={PROCESS_VARIABLE: str(mark)}, start_new_session=True) as left:
        assert "processes of it are left" in fresh.run("status").stderr
        assert fresh.run("down").stdout == "hatchway is down\n"
        assert left.wait() == -signal.SIGTERM
    assert fresh.run("down").stdout == "hatchway is not running\n"


def test_up_on_a_running_engine_says_so(cli: CommandLine) -> None:
    done = cli.run("up")
    assert done.code == 0
    assert "already up" in done.stdout
    assert "http://127.0.0.1:8484" in done.stdout


def test_up_with_another_port_than_the_running_gateways_is_refused(cli: CommandLine) -> None:
    done = cli.run("up", "--port", "9000")
    assert done.code == 1
    assert "already up, with its gateway on port 8484" in done.stderr
    assert "hatchway down" in done.stderr


def test_prune_tells_what_it_freed(cli: CommandLine) -> None:
    assert cli.run("prune").stdout == "nothing to remove\n"
    assert cli.run("prune", "-o", "json").json == {"blobs": 0}


def test_version(fresh: CommandLine) -> None:
    assert fresh.run("version").stdout == f"hatchway {__version__}\n"
    assert fresh.run("version", "-o", "json").json == {"version": __version__}


# --- completion ------------------------------------------------------------------------------------------------
def test_names_are_completed_from_the_running_engine(cli: CommandLine) -> None:
    for name in ("iris", "recommendation-engine"):
        cli.engine.change(an_api(name))
    assert completed(cli, "hatchway get rec") == ["recommendation-engine"]
    assert completed(cli, "hatchway get recommendation_e") == ["recommendation_engine"]
    assert completed(cli, "hatchway delete ") == ["iris", "recommendation-engine"]


def test_completion_is_silent_when_nothing_runs(fresh: CommandLine) -> None:
    assert completed(fresh, "hatchway get i") == []


def test_templates_are_completed(fresh: CommandLine) -> None:
    assert completed(fresh, "hatchway init re") == ["recommender"]


def completed(cli: CommandLine, line: str) -> list[str]:
    """What bash is told."""
    before = dict(cli.variables)
    cli.variables |= {
        "_HATCHWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    try:
        return cli.run().stdout.split()
    finally:
        cli.variables = before
