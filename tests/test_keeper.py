"""The keeper as a real process over an engine that does as it is told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from hatchway import keeper
from hatchway.errors import EngineUnavailable
from hatchway.processes import Marked, end_all, find_marked, is_alive
from hatchway.settings import Settings

ENGINE = "tests.stand_in_engine"
PATIENCE_S = 20.0

T = TypeVar("T")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hw"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("HATCHWAY_HOME", str(folder / "home"))
    settings = Settings.from_environment(os.environ)
    settings.prepare()
    yield settings
    end_all(settings.home_hash, spare=frozenset({"engine"}), grace_s=0)
    end_all(settings.home_hash, grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


def start(settings: Settings, *script: str) -> None:
    (settings.home / "script").write_text("\n".join(script))
    keeper.start(settings, timeout_s=PATIENCE_S, engine_module=ENGINE)


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds. Files and foreign processes make no event to wait for."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def the(role: str, settings: Settings) -> Marked:
    return until(lambda: next((f for f in find_marked(settings.home_hash) if f.mark.role == role and f.leads), None))


def starts(settings: Settings) -> list[str]:
    path = settings.home / "starts"
    return path.read_text().splitlines() if path.exists() else []


def exits(settings: Settings) -> list[dict[str, int]]:
    if not settings.exits_file.exists():
        return []
    return [json.loads(line) for line in settings.exits_file.read_text().splitlines()]


def answers(settings: Settings) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(settings.engine_socket))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return client.recv(4) == b"HTTP"
        except OSError:
            return False


# --- starting -------------------------------------------------------------------------------------------------
def test_start_returns_when_the_engine_answers(settings: Settings) -> None:
    assert not keeper.is_running(settings)
    start(settings)
    assert answers(settings)
    assert keeper.is_running(settings)


def test_many_starts_at_once_start_one_engine(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: start(settings), range(4)))
    assert len(starts(settings)) == 1


def test_the_keeper_is_nobodys_child_and_has_no_terminal(settings: Settings) -> None:
    start(settings)
    found = the("keeper", settings)
    stat = Path(f"/proc/{found.identity.pid}/stat").read_text().rpartition(")")[2].split()
    parent, session, terminal = int(stat[1]), int(stat[3]), int(stat[4])
    assert parent != os.getpid()
    assert (session, terminal) == (found.identity.pid, 0)
    assert os.readlink(f"/proc/{found.identity.pid}/cwd") == "/"


def test_a_start_that_fails_shows_the_end_of_the_engines_log(settings: Settings) -> None:
    with pytest.raises(EngineUnavailable, match="has had enough"):
        start(settings, "exit 78")
    assert len(starts(settings)) == 1
    until(lambda: not find_marked(settings.home_hash))


def test_an_engine_that_never_comes_up_is_given_up_soon(settings: Settings) -> None:
    with pytest.raises(EngineUnavailable, match="has had enough"):
        start(settings, *["exit 1"] * 10)
    assert len(starts(settings)) == keeper.MAX_FAILED_STARTS


def test_an_engine_that_comes_up_late_is_waited_for(settings: Settings) -> None:
    start(settings, "exit 1", "exit 1", "serve")
    assert len(starts(settings)) == 3


# --- keeping --------------------------------------------------------------------------------------------------
def test_a_killed_engine_is_started_again(settings: Settings) -> None:
    start(settings)
    first = the("engine", settings)
    os.kill(first.identity.pid, signal.SIGKILL)
    until(lambda: len(starts(settings)) == 2 and answers(settings))
    assert the("engine", settings).identity != first.identity


def test_an_engine_that_cannot_start_for_a_while_is_tried_again_once_one_was_up(settings: Settings) -> None:
    """The disk may be full now: without a keeper nobody would look after the replicas when it no longer is."""
    start(settings, "serve", "exit 78", "exit 78", "serve")
    first, came_up = the("engine", settings), time.monotonic()
    until(lambda: time.monotonic() - came_up > keeper.CALM_AFTER_S)  # then it counts as having been up
    os.kill(first.identity.pid, signal.SIGKILL)
    until(lambda: len(starts(settings)) == 4 and answers(settings))


def test_orphans_of_a_killed_engine_run_on_and_their_ends_are_written_down(settings: Settings) -> None:
    start(settings, "orphan")
    pid = int(until((settings.home / "orphan").read_text))
    orphan = next(found.identity for found in find_marked(settings.home_hash) if found.identity.pid == pid)
    os.kill(the("engine", settings).identity.pid, signal.SIGKILL)
    until(lambda: len(starts(settings)) == 2)
    assert is_alive(orphan)
    os.kill(pid, signal.SIGTERM)
    assert until(lambda: exits(settings)) == [
        {"pid": pid, "start_time": orphan.start_time, "wait_status": int(signal.SIGTERM)}
    ]


def test_the_record_of_exits_is_bounded_and_keeps_the_newest(settings: Settings) -> None:
    line = json.dumps({"pid": 1, "start_time": 2, "wait_status": 0}) + "\n"
    settings.exits_file.write_text(line * (keeper.MAX_EXITS_BYTES // len(line) + 10))
    start(settings, "orphan")
    pid = int(until((settings.home / "orphan").read_text))
    os.kill(the("engine", settings).identity.pid, signal.SIGKILL)
    until(lambda: len(starts(settings)) == 2)
    os.kill(pid, signal.SIGKILL)
    until(lambda: exits(settings)[-1]["pid"] == pid)
    assert settings.exits_file.stat().st_size < keeper.MAX_EXITS_BYTES


def test_a_restart_that_the_engine_asks_for_keeps_the_keeper(settings: Settings) -> None:
    start(settings, f"exit {keeper.EXIT_HANDOVER}", "serve")
    assert len(starts(settings)) == 2
    assert the("keeper", settings).mark.role == "keeper"


def test_a_handover_replaces_the_keeper_in_place(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "python-of-another-version"
    other.symlink_to(sys.executable)
    (settings.home / "handover.json").write_text(json.dumps({"python": str(other)}))
    start(settings, f"exit {keeper.EXIT_HANDOVER}", "serve")
    before, after = (line.split()[1] for line in starts(settings))
    assert (before, after) == (sys.executable, str(other))
    found = the("keeper", settings)
    assert os.fsencode(other) in Path(f"/proc/{found.identity.pid}/cmdline").read_bytes()
    assert not (settings.home / "handover.json").exists()


def test_a_handover_to_a_python_that_is_not_there_goes_on_as_before(settings: Settings) -> None:
    (settings.home / "handover.json").write_text('{"python": "/nowhere/python"}')
    start(settings, f"exit {keeper.EXIT_HANDOVER}", "serve")
    assert [line.split()[1] for line in starts(settings)] == [sys.executable] * 2


# --- ending ---------------------------------------------------------------------------------------------------
def test_an_engine_that_goes_down_ends_the_keeper(settings: Settings) -> None:
    start(settings)
    os.kill(the("engine", settings).identity.pid, signal.SIGTERM)
    until(lambda: not find_marked(settings.home_hash))
    assert len(starts(settings)) == 1


def test_stop_leaves_no_process_and_no_socket(settings: Settings) -> None:
    start(settings, "orphan")
    keeper.stop(settings, timeout_s=0.1)
    assert find_marked(settings.home_hash) == []
    assert not settings.runtime_dir.exists()
    assert not keeper.is_running(settings)


def test_an_engine_that_fails_on_its_way_down_is_not_started_again(settings: Settings) -> None:
    start(settings, "stumble")
    keeper.stop(settings, timeout_s=PATIENCE_S)
    assert find_marked(settings.home_hash) == []
    assert len(starts(settings)) == 1


def test_stop_ends_what_engine_and_keeper_left(settings: Settings) -> None:
    start(settings, "orphan")
    until((settings.home / "orphan").read_text)
    for role in ("keeper", "engine"):
        os.kill(the(role, settings).identity.pid, signal.SIGKILL)
    until(lambda: not keeper.is_running(settings))
    assert keeper.is_anything_left(settings)
    keeper.stop(settings, timeout_s=PATIENCE_S)
    assert not keeper.is_anything_left(settings)


def test_a_home_is_lost_when_it_is_removed_under_an_engine(settings: Settings) -> None:
    start(settings)
    settings.database.touch()
    assert not keeper.has_lost_home(settings)
    shutil.rmtree(settings.home)
    assert keeper.has_lost_home(settings)
    keeper.stop(settings, timeout_s=PATIENCE_S)
    assert not keeper.has_lost_home(settings)


def test_stop_when_nothing_runs_does_nothing(settings: Settings) -> None:
    keeper.stop(settings, timeout_s=1)
    assert find_marked(settings.home_hash) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_keeper_in_the_foreground_ends_everything_on_a_signal(settings: Settings, number: signal.Signals) -> None:
    (settings.home / "script").write_text("orphan")
    code = (
        "import os; from hatchway import keeper; from hatchway.settings import Settings;"
        f"keeper.foreground(Settings.from_environment(os.environ), engine_module={ENGINE!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        until(lambda: answers(settings))
        assert the("keeper", settings).identity.pid == process.pid
        with pytest.raises(EngineUnavailable, match="already up"):
            keeper.foreground(settings)
        process.send_signal(number)
        process.wait(timeout=PATIENCE_S)
    assert find_marked(settings.home_hash) == []
    assert not settings.runtime_dir.exists()


def test_the_keeper_is_small() -> None:
    code = "import sys, hatchway.keeper; print(*{'pydantic', 'asyncio', 'httpx', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
