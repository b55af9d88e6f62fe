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
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import EngineUnavailable, HatchwayError
from hatchway.processes import Identity, Mark, end_all, find_marked, is_alive, read_stat, wait_all_gone
from hatchway.rotation import LogStream
from hatchway.settings import Settings

EXIT_HANDOVER = 75  # the engine wants to be started again, with the interpreter that handover.json names
EXIT_CANNOT_START = 78  # it would fail again: the home, the port or another engine is in its way

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
CALM_AFTER_S = 60.0
MAX_EXITS_BYTES = 1 << 20
SHOWN_LOG_LINES = 15
ANSWER_POLL_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36


# --- the keeper's own life ---------------------------------------------------------------------------------
class Keeper:
    """Runs one engine after another until one of them ends for good."""

    def __init__(self, settings: Settings, *, engine_module: str = "hatchway.engine") -> None:
        self._settings = settings
        self._engine_module = engine_module
        self._engine: int | None = None
        self._is_ending = False

    def run(self) -> int:
        """Returns the exit code for whoever waits in the foreground."""
        _become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._forward)
        delay_s = FIRST_DELAY_S
        while True:
            started = time.monotonic()
            code = self._run_engine()
            if code in (0, EXIT_CANNOT_START) or self._is_ending:
                return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else 1
            if code == EXIT_HANDOVER:
                self._hand_over()
                delay_s = FIRST_DELAY_S
                continue
            delay_s = FIRST_DELAY_S if time.monotonic() - started > CALM_AFTER_S else delay_s
            self._reap_for(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _run_engine(self) -> int:
        """Start an engine and return its exit code; reap everything else that ends meanwhile."""
        stream = LogStream(self._settings.engine_log)
        stream.rotate()
        mark = Mark(self._settings.home_hash, "engine", "0")
        with self._settings.engine_log.open("ab") as log:
            engine = subprocess.Popen(
                [sys.executable, "-m", self._engine_module],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | _environment(self._settings) | {PROCESS_VARIABLE: str(mark)},
                start_new_session=True,
            )
        self._engine = engine.pid
        if self._is_ending:  # asked to while it was being started
            engine.terminate()
        while True:
            pid, status = self._reap_one()
            if pid == engine.pid:
                self._engine = None
                engine.returncode = os.waitstatus_to_exitcode(status)
                return engine.returncode

    def _reap_one(self) -> tuple[int, int]:
        """Wait for the end of any child. Its start time must be read before it is reaped."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        found = read_stat(ended.si_pid)
        pid, status = os.waitpid(ended.si_pid, 0)
        if pid != self._engine and found is not None:
            self._record(Identity(pid, found.start_time), status)
        return pid, status

    def _record(self, identity: Identity, status: int) -> None:
        path = self._settings.exits_file
        with suppress(OSError):
            if path.exists() and path.stat().st_size > MAX_EXITS_BYTES:
                path.replace(path.with_suffix(".jsonl.old"))
            line = json.dumps({"pid": identity.pid, "start_time": identity.start_time, "wait_status": status})
            with path.open("a") as file:
                file.write(line + "\n")

    def _reap_for(self, seconds: float) -> None:
        """Wait before the next start, reaping meanwhile; a signal to end cuts it short."""
        deadline = time.monotonic() + seconds
        while not self._is_ending and (left_s := deadline - time.monotonic()) > 0:
            with suppress(ChildProcessError):
                while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                    self._reap_one()
            signal.sigtimedwait([signal.SIGCHLD], min(left_s, 0.2))

    def _hand_over(self) -> None:
        """Go on as the keeper of another installation: same pid, same children."""
        path = self._settings.home / "handover.json"
        try:
            python = json.loads(path.read_text())["python"]
            path.unlink()
        except (OSError, ValueError, KeyError):
            return
        if python != sys.executable and os.access(python, os.X_OK):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until the next one listens
            os.execve(python, [python, "-m", "hatchway.keeper"], os.environ | _environment(self._settings))

    def _forward(self, number: int, _frame: object) -> None:
        self._is_ending = True
        if self._engine is not None:
            with suppress(ProcessLookupError):
                os.kill(self._engine, signal.SIGTERM if number == signal.SIGHUP else number)


def _become_subreaper() -> None:
    """Orphans below this process become its children. Linux only; elsewhere exit reasons are lost with the engine."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as variables, for processes that read them again."""
    found = {"HATCHWAY_HOME": str(settings.home), "HATCHWAY_HOST": settings.host}
    if settings.gateway_port is not None:
        found["HATCHWAY_GATEWAY_PORT"] = str(settings.gateway_port)
    if settings.envoy is not None:
        found["HATCHWAY_ENVOY"] = settings.envoy
    return found


# --- for the command line -----------------------------------------------------------------------------------
def is_running(settings: Settings) -> bool:
    """Whether an engine answers, or a keeper is about to bring one up."""
    return _answers(settings) or any(found.mark.role == "keeper" for found in find_marked(settings.home_hash))


def start(settings: Settings, *, timeout_s: float) -> None:
    """Have an engine run and answer; whoever calls this at the same time waits for the same one.

    Raises EngineUnavailable with the end of the engine's log, or StorageError.
    """
    settings.prepare()
    with _start_lock(settings):
        if _answers(settings):
            return
        keeper = next(
            (found.identity for found in find_marked(settings.home_hash) if found.mark.role == "keeper"), None
        )
        log_end = LogStream(settings.engine_log).end()
        _wait_for_answer(settings, keeper or _spawn_keeper(settings), log_end, timeout_s)


def foreground(settings: Settings) -> int:
    """Be the keeper until Ctrl-C or SIGTERM, which end everything. Raises StorageError, EngineUnavailable."""
    settings.prepare()
    if is_running(settings):
        raise EngineUnavailable(f"hatchway is already up in {settings.home}", hint="run `hatchway down` first")
    mark = Mark(settings.home_hash, "keeper", "0")
    os.environ.update(_environment(settings) | {PROCESS_VARIABLE: str(mark)})
    print(f"hatchway is coming up in {settings.home}; Ctrl-C ends it", flush=True)  # noqa: T201
    log_end = LogStream(settings.engine_log).end()
    code = Keeper(settings).run()
    if code != 0:
        print(_end_of_log(settings, log_end), file=sys.stderr)  # noqa: T201
    _clear(settings)
    return code


def stop(settings: Settings, *, timeout_s: float) -> None:
    """After the engine was asked to go down: wait until every process is gone, end stragglers, remove sockets."""
    wait_all_gone(settings.home_hash, spare=frozenset(), timeout_s=timeout_s)
    # The keeper first: it would start a new engine.
    end_all(settings.home_hash, spare=frozenset({"engine", "replica", "envoy", "gateway", "build"}), grace_s=5)
    end_all(settings.home_hash, grace_s=5)
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


def _spawn_keeper(settings: Settings) -> Identity:
    """Start a keeper that outlives us: its own session, no terminal, nothing of ours but the environment."""
    mark = Mark(settings.home_hash, "keeper", "0")
    environment: Mapping[str, str] = os.environ | _environment(settings) | {PROCESS_VARIABLE: str(mark)}
    with settings.engine_log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "hatchway.keeper"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    child.returncode = 0  # it is meant to outlive us: nobody waits for it here
    found = read_stat(child.pid)
    return Identity(child.pid, found.start_time if found else 0)


def _wait_for_answer(settings: Settings, keeper: Identity, log_end: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not _answers(settings):
        if not is_alive(keeper):
            raise EngineUnavailable(f"the engine did not start:\n{_end_of_log(settings, log_end)}")
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


def main() -> int:
    """The keeper of the home that the environment names."""
    try:
        settings = Settings.from_environment(os.environ)
        settings.prepare()
    except HatchwayError as exc:
        print(exc.message, file=sys.stderr)  # noqa: T201
        return 1
    return Keeper(settings).run()


if __name__ == "__main__":
    sys.exit(main())
