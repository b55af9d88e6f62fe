"""The keeper: the small process that `hatchway up` leaves behind, and how others start and end it.

It is the parent of the engine and, as a child subreaper, of everything a dead engine leaves: it starts the engine
again with a growing delay, reaps every orphan, and writes how each one ended to `exits.jsonl`, so that exit reasons
survive the engine. Standard library only, because it lives as long as the home is up.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

from hatchway.contract import PROCESS_VARIABLE
from hatchway.delays import GrowingDelay
from hatchway.errors import EngineUnavailable, HatchwayError
from hatchway.processes import (
    Identity,
    Mark,
    end_all,
    find_marked,
    is_alive,
    read_stat,
    signal_process,
    wait_all_gone,
)
from hatchway.rotation import LogStream
from hatchway.settings import Settings

EXIT_HANDOVER = 75  # the engine wants to be started again, with the interpreter that handover.json names
EXIT_CANNOT_START = 78  # the home, the port or another engine is in its way: it would fail again for a while

ROLE = "keeper"
ENGINE_MODULE = "hatchway.engine"
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
CALM_AFTER_S = 5.0  # an engine that lived so long was up: the next delay is the first one again
MAX_FAILED_STARTS = 3  # of a keeper none of whose engines was ever up
MAX_EXITS_BYTES = 1 << 20
KEPT_EXITS_BYTES = MAX_EXITS_BYTES // 2
ROTATE_EVERY_S = 60.0
END_GRACE_S = 5.0
SHOWN_LOG_LINES = 15
ANSWER_POLL_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36


# --- the keeper's own life ---------------------------------------------------------------------------------
class Keeper:
    """Runs one engine after another until one of them ends for good.

    With `in_foreground` the engine writes to our own output, for a terminal or a journal, else to the engine's log.
    `engine_module` is a seam: what is started.
    """

    def __init__(self, settings: Settings, *, engine_module: str = ENGINE_MODULE, in_foreground: bool = False) -> None:
        self._settings = settings
        self._engine_module = engine_module
        self._in_foreground = in_foreground
        self._log = LogStream(settings.engine_log)
        self._engine: int | None = None
        self._engine_code: int | None = None
        self.is_ending = False  # somebody asked us to bring everything down
        self._was_up = False
        self._wakeups, writer = os.pipe()
        os.set_blocking(self._wakeups, False)
        os.set_blocking(writer, False)
        # Every signal writes a byte: waiting for one is waiting for the pipe, and none falls between look and wait.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def run(self) -> int:
        """Returns the exit code for whoever waits in the foreground."""
        _become_subreaper()
        signal.signal(signal.SIGCHLD, _note)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._forward)
        delay, failed_starts = GrowingDelay(FIRST_DELAY_S, LONGEST_DELAY_S, CALM_AFTER_S), 0
        while True:
            started = time.monotonic()
            code = self._run_engine()
            # Once an engine was up there are replicas to look after, and a disk that is full now will not always be.
            if code == 0 or self.is_ending or (code == EXIT_CANNOT_START and not self._was_up):
                return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else 1
            if code == EXIT_HANDOVER:
                self._hand_over()
                continue
            lasted_s = time.monotonic() - started
            self._was_up = self._was_up or lasted_s >= CALM_AFTER_S
            # An engine that somebody killed may well start the next time; one that ended by itself, hardly.
            failed_starts = failed_starts + 1 if code > 0 else 0
            if failed_starts >= MAX_FAILED_STARTS and not self._was_up:
                return 1
            self._wait(delay.after(lasted_s))
            if self.is_ending:
                return 0

    def _run_engine(self) -> int:
        """Start an engine and return its exit code; reap everything else that ends meanwhile."""
        self._log.rotate()
        mark = Mark(self._settings.home_hash, "engine", "0")
        with _output(self._settings, in_foreground=self._in_foreground) as output:
            engine = subprocess.Popen(
                [sys.executable, "-m", self._engine_module],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | _environment(self._settings) | {PROCESS_VARIABLE: str(mark)},
                start_new_session=True,
            )
        self._engine, self._engine_code = engine.pid, None
        engine.returncode = 0  # reaped below, with all others
        if self.is_ending:  # asked to while it was being started
            os.kill(engine.pid, signal.SIGTERM)
        while self._engine_code is None:
            self._wait(ROTATE_EVERY_S)
            self._log.rotate()
        return self._engine_code

    def _wait(self, seconds: float) -> None:
        """Reap what ends, until the time is up, the engine has ended, or somebody wants us to end."""
        was_ending, had_engine = self.is_ending, self._engine is not None
        deadline = time.monotonic() + seconds
        while True:
            self._reap()
            if (had_engine and self._engine is None) or self.is_ending != was_ending:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            select.select([self._wakeups], [], [], left_s)
            with suppress(BlockingIOError):
                os.read(self._wakeups, 4096)

    def _reap(self) -> None:
        """Reap every child that has ended, and write down how."""
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
                found = read_stat(ended.si_pid)  # a start time can only be read before the process is reaped
                pid, status = os.waitpid(ended.si_pid, 0)
                if pid == self._engine:
                    self._engine, self._engine_code = None, os.waitstatus_to_exitcode(status)
                elif found is not None:
                    _record(self._settings.exits_file, Identity(pid, found.start_time), status)

    def _hand_over(self) -> None:
        """Go on as the keeper of the installation that handover.json names: same pid, same children."""
        path = self._settings.home / "handover.json"
        try:
            python = str(json.loads(path.read_text())["python"])
            path.unlink()
        except (OSError, ValueError, KeyError, TypeError):
            return
        if not os.access(python, os.X_OK):
            return
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until the next one listens
        arguments = _arguments(python, self._engine_module, in_foreground=self._in_foreground)
        os.execve(python, arguments, os.environ | _environment(self._settings))

    def _forward(self, number: int, _frame: object) -> None:
        self.is_ending = True
        if self._engine is not None:
            with suppress(ProcessLookupError):
                os.kill(self._engine, signal.SIGTERM if number == signal.SIGHUP else number)


def _note(_number: int, _frame: object) -> None:
    """Its byte on the wakeup pipe is all that is wanted of SIGCHLD, which is ignored without a handler."""


def _become_subreaper() -> None:
    """Orphans below this process become its children. Linux only; elsewhere exit reasons are lost with the engine."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _record(path: Path, identity: Identity, wait_status: int) -> None:
    """Append an exit; of a file that has grown too large the newer half is kept."""
    line = json.dumps({"pid": identity.pid, "start_time": identity.start_time, "wait_status": wait_status}) + "\n"
    with suppress(OSError):
        if path.exists() and path.stat().st_size > MAX_EXITS_BYTES:
            kept = path.read_bytes()[-KEPT_EXITS_BYTES:].partition(b"\n")[2]
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_bytes(kept)
            unfinished.replace(path)
        with path.open("a") as file:
            file.write(line)


@contextmanager
def _output(settings: Settings, *, in_foreground: bool) -> Iterator[IO[bytes] | None]:
    """Where an engine writes; None: where we do."""
    if in_foreground:
        yield None
    else:
        with settings.engine_log.open("ab") as log:
            yield log


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as variables, for processes that read them again."""
    found = {"HATCHWAY_HOME": str(settings.home), "HATCHWAY_HOST": settings.host}
    if settings.gateway_port is not None:
        found["HATCHWAY_GATEWAY_PORT"] = str(settings.gateway_port)
    if settings.dashboard_port is not None:
        found["HATCHWAY_DASHBOARD_PORT"] = str(settings.dashboard_port)
    if settings.envoy is not None:
        found["HATCHWAY_ENVOY"] = settings.envoy
    if settings.alert_webhook is not None:
        found["HATCHWAY_ALERT_WEBHOOK"] = settings.alert_webhook
    return found


def _keeper_environment(settings: Settings) -> dict[str, str]:
    mark = Mark(settings.home_hash, ROLE, "0")
    return {**os.environ, **_environment(settings), PROCESS_VARIABLE: str(mark)}


def _arguments(python: str, engine_module: str, *, in_foreground: bool) -> list[str]:
    return [python, "-m", "hatchway.keeper", "foreground" if in_foreground else "background", engine_module]


# --- for the command line -----------------------------------------------------------------------------------
def is_running(settings: Settings) -> bool:
    """Whether an engine answers, or a keeper is about to bring one up."""
    return _answers(settings) or _find_keeper(settings) is not None


def start(settings: Settings, *, timeout_s: float, engine_module: str = ENGINE_MODULE) -> None:
    """Have an engine run and answer; whoever calls this at the same time waits for the same one.

    Raises EngineUnavailable with the end of the engine's log, or StorageError.
    """
    settings.prepare()
    with _start_lock(settings):
        if _answers(settings):
            return
        log_end = LogStream(settings.engine_log).end()
        keeper = _find_keeper(settings) or _spawn_keeper(settings, engine_module)
        _wait_for_answer(settings, keeper, log_end, timeout_s)


def foreground(settings: Settings, *, engine_module: str = ENGINE_MODULE) -> NoReturn:
    """Become the keeper, until Ctrl-C or SIGTERM end everything. The engine's log goes to our output.

    Raises StorageError, EngineUnavailable.
    """
    settings.prepare()
    if is_running(settings):
        raise EngineUnavailable(f"hatchway is already up in {settings.home}", hint="run `hatchway down` first")
    # A new program instead of a call: it is small, and found by its mark, which only counts from the start of one.
    arguments = _arguments(sys.executable, engine_module, in_foreground=True)
    sys.stdout.flush()
    os.execve(sys.executable, arguments, _keeper_environment(settings))


def is_anything_left(settings: Settings) -> bool:
    """Whether a process of the home lives, be it only a replica that its engine and keeper left behind."""
    return bool(find_marked(settings.home_hash))


def has_lost_home(settings: Settings) -> bool:
    """Whether the home was removed under an engine that answers."""
    return _answers(settings) and not settings.database.exists()


def stop(settings: Settings, *, timeout_s: float) -> None:
    """Have the engine go down, end what is still there after `timeout_s`, and remove the sockets."""
    # The keeper is told too, or it would follow an engine that fails on its way down by another one.
    leaders = [found for found in find_marked(settings.home_hash) if found.mark.role in (ROLE, "engine")]
    for leader in leaders:
        signal_process(leader.identity, signal.SIGTERM)
    if leaders:
        wait_all_gone(settings.home_hash, spare=frozenset(), timeout_s=timeout_s)
    _end_everything(settings)


def _end_everything(settings: Settings) -> None:
    # The keeper first, then the engine: each would start anew what ends before it.
    for role in (ROLE, "engine"):
        others = {found.mark.role for found in find_marked(settings.home_hash)} - {role}
        end_all(settings.home_hash, spare=frozenset(others), grace_s=END_GRACE_S)
    end_all(settings.home_hash, grace_s=END_GRACE_S)
    _clear(settings)


def _clear(settings: Settings) -> None:
    shutil.rmtree(settings.runtime_dir, ignore_errors=True)
    with suppress(OSError):
        settings.runtime_dir.parent.rmdir()  # ours alone when no other home is up


@contextmanager
def _start_lock(settings: Settings) -> Iterator[None]:
    with (settings.home / "start.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _spawn_keeper(settings: Settings, engine_module: str) -> Identity:
    """Start a keeper that outlives us: its own session, no terminal, nobody's child."""
    arguments = _arguments(sys.executable, engine_module, in_foreground=False)
    with settings.engine_log.open("ab") as log:
        # It ends as soon as it has forked the one that stays, which is therefore nothing that we would have to reap.
        subprocess.run(
            [*arguments, "--detach"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_keeper_environment(settings),
            start_new_session=True,
            check=False,
        )
    return _find_keeper(settings) or Identity(0, 0)


def _find_keeper(settings: Settings) -> Identity | None:
    return next((found.identity for found in find_marked(settings.home_hash) if found.mark.role == ROLE), None)


def _wait_for_answer(settings: Settings, keeper: Identity, log_end: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not _answers(settings):
        if not is_alive(keeper):
            raise EngineUnavailable(
                f"the engine did not start:\n{_end_of_log(settings, log_end)}",
                hint=f"the whole log is in {settings.engine_log}",
            )
        if time.monotonic() >= deadline:
            raise EngineUnavailable(
                f"the engine did not answer within {timeout_s:g} s:\n{_end_of_log(settings, log_end)}",
                hint=f"the whole log is in {settings.engine_log}",
            )
        time.sleep(ANSWER_POLL_S)  # the socket's appearance is no event we could wait for across processes


def _answers(settings: Settings) -> bool:
    """Whether the control API takes requests."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(settings.engine_socket))
            client.sendall(b"GET /v1/alive HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
            return client.recv(5) == b"HTTP/"
        except OSError:
            return False


def _end_of_log(settings: Settings, since: int) -> str:
    """What the engine said since a position of its log, the last lines of it."""
    stream = LogStream(settings.engine_log)
    end = stream.end()
    data, _ = stream.read(max(since, end - 64 * 1024), 64 * 1024)
    lines = data.decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-SHOWN_LOG_LINES:]) or "  (its log is empty)"


def main(arguments: Sequence[str]) -> int:
    """The keeper of the home that the environment names: `[background|foreground [ENGINE_MODULE]] [--detach]`."""
    if "--detach" in arguments:
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
    in_foreground = bool(arguments) and arguments[0] == "foreground"
    engine_module = arguments[1] if len(arguments) > 1 else ENGINE_MODULE
    try:
        settings = Settings.from_environment(os.environ)
        settings.prepare()
    except HatchwayError as exc:
        print(exc.message, file=sys.stderr)  # noqa: T201
        return 1
    keeper = Keeper(settings, engine_module=engine_module, in_foreground=in_foreground)
    code = keeper.run()
    if code == 0 or keeper.is_ending:
        _end_everything(settings)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
