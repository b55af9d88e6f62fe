from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from hatchway.cli.connect import parse_version
from hatchway.spec.status import EngineStatus
from tests.cli.conftest import CommandLine


@pytest.mark.parametrize(("older", "newer"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1.2", "1.2.1"), ("", "0.1.0")])
def test_versions_compare_by_number(older: str, newer: str) -> None:
    assert parse_version(older) < parse_version(newer)


def test_a_pre_release_counts_as_its_release() -> None:
    assert parse_version("1.2.3rc1") == parse_version("1.2.3.dev4+local") == (1, 2, 3)


def test_an_engine_of_our_version_is_left_alone(cli: CommandLine) -> None:
    done = cli.run("get")
    assert (done.code, done.stderr) == (0, "")
    assert cli.engine.plane.shutdowns == []


def test_a_newer_engine_is_a_note_and_no_obstacle(cli: CommandLine) -> None:
    cli.engine.plane.engine = EngineStatus(pid=1, version="99.0.0")
    done = cli.run("get", "-o", "json")
    assert (done.code, done.json) == (0, [])
    assert "the engine is hatchway 99.0.0, newer than this command line" in done.stderr
    assert cli.engine.plane.shutdowns == []


def test_an_older_engine_hands_over_to_our_python_and_its_end_is_waited_for(cli: CommandLine) -> None:
    """The engine's process is a `cat` here, which ends a moment after the control API was asked to hand over."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as older:
        assert older.stdin is not None
        cli.engine.plane.engine = EngineStatus(pid=older.pid, version="0.0.9")
        threading.Timer(0.3, older.stdin.close).start()
        done = cli.run("get", "-o", "json")
        assert (done.code, done.json) == (0, [])
        assert cli.engine.plane.shutdowns == [("handover", sys.executable)]
        assert "replacing the engine 0.0.9" in done.stderr
        assert older.wait() == 0
