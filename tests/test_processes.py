from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.contract import PROCESS_VARIABLE
from hatchway.processes import (
    Command,
    Identity,
    Mark,
    end_all,
    find_marked,
    identify,
    is_alive,
    kill_tree,
    read_stat,
    reap,
    spawn,
    table,
    tree,
    wait_all_gone,
)

HOME = f"{os.getpid():012x}"
SLEEP = [shutil.which("sleep") or "sleep", "1000"]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    for found in find_marked(HOME):
        kill_tree(found.identity, found.mark)


def a_process(folder: Path, *argv: str, role: str = "replica", id: str = "a") -> Identity:
    environment = {**os.environ, PROCESS_VARIABLE: str(Mark(HOME, role, id))}
    return spawn(Command(argv or SLEEP, environment, folder, folder / "log"))


def wait_for(identity: Identity) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(identity.pid, 0)[1])


def test_a_process_leads_its_own_session_and_writes_to_its_log(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.umask(0)); print(repr(sys.stdin.read()), file=sys.stderr)"
    identity = a_process(tmp_path, sys.executable, "-c", code)
    stat = read_stat(identity.pid)
    assert stat is not None
    assert stat.session == identity.pid
    assert wait_for(identity) == 0
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted([f"{tmp_path} {0o077}", "''"])


def test_output_is_appended(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    wait_for(a_process(tmp_path, "/bin/echo", "after"))
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_a_zombie_is_dead_and_its_exit_code_can_be_had_once(tmp_path: Path) -> None:
    identity = a_process(tmp_path)
    assert is_alive(identity)
    assert reap(identity) is None
    os.kill(identity.pid, signal.SIGKILL)
    os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT)
    assert identify(identity.pid) == identity  # still there, as a zombie
    assert not is_alive(identity)
    assert reap(identity) == -signal.SIGKILL
    assert reap(identity) is None
    assert identify(identity.pid) is None


def test_a_pid_that_was_given_to_somebody_else_is_not_the_same_process() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert is_alive(me)
    assert not is_alive(Identity(me.pid, me.start_time + 1))


def test_a_name_with_brackets_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) (b c"
    program.symlink_to(SLEEP[0])
    identity = a_process(tmp_path, str(program), "1000")
    stat = read_stat(identity.pid)
    assert stat is not None
    assert stat.parent == os.getpid()


def test_marked_processes_of_a_home_are_found_and_no_others(tmp_path: Path) -> None:
    mine, build = a_process(tmp_path, id="x:y"), a_process(tmp_path, role="build")
    found = {item.identity: (item.mark.role, item.mark.id, item.leads) for item in find_marked(HOME)}
    assert found == {mine: ("replica", "x:y", True), build: ("build", "a", True)}
    assert find_marked("0" * 12) == []


def test_a_process_carries_its_mark_as_soon_as_it_is_spawned(tmp_path: Path) -> None:
    """The kernel shows the environment a moment after exec has let go of the parent."""
    for _ in range(300):
        started = a_process(tmp_path)
        shown = (Path("/proc") / str(started.pid) / "environ").read_bytes()
        os.kill(started.pid, signal.SIGKILL)
        wait_for(started)
        assert str(Mark(HOME, "replica", "a")).encode() in shown


def test_killing_ends_the_session_the_descendants_and_what_left_both(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = (
        "import os, subprocess, time\n"
        f"subprocess.Popen({SLEEP!r})\n"
        f"subprocess.Popen({SLEEP!r}, start_new_session=True)\n"
        f"subprocess.Popen(['sh', '-c', 'setsid sleep 1000 & exit 0'])\n"
        f"open({str(ready)!r}, 'w').write('yes')\n"
        "time.sleep(1000)\n"
    )
    identity = a_process(tmp_path, sys.executable, "-c", code)
    assert ready.read_text() == "yes"
    other = a_process(tmp_path, id="b")
    assert len(tree(identity.pid, table())) >= 3
    kill_tree(identity, Mark(HOME, "replica", "a"))
    assert wait_for(identity) == -signal.SIGKILL
    left = wait_all_gone(HOME, spare=frozenset(), timeout_s=0.1)
    assert [found.identity for found in left] == [other]


def test_ending_all_spares_a_role_and_kills_who_does_not_listen(tmp_path: Path) -> None:
    spared = a_process(tmp_path, role="keeper")
    deaf = a_process(tmp_path, "/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
    while "deaf" not in (tmp_path / "log").read_text():
        os.sched_yield()
    end_all(HOME, spare=frozenset({"keeper"}), grace_s=0.2)
    assert not is_alive(deaf)
    assert is_alive(spared)
    assert wait_for(deaf) == -signal.SIGKILL


def test_what_cannot_be_started_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        a_process(tmp_path, "/nowhere/program")


def test_marks_that_are_none_are_not_parsed() -> None:
    assert Mark.parse("a:b:c:d") == Mark("a", "b", "c:d")
    assert Mark.parse("nothing") is None


def test_a_child_is_not_reaped_behind_our_back(tmp_path: Path) -> None:
    identity = a_process(tmp_path, "/bin/sh", "-c", "exit 3")
    os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOWAIT)
    subprocess.run(["true"], check=True)  # the module reaps forgotten children of its own when it starts another
    assert reap(identity) == 3
