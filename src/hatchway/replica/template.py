"""A warmed process that replicas are forked from: what a handler imports is imported once, here.

Blocking and with a single thread on purpose: a fork copies only the thread that calls it, so whatever other threads
hold would stay locked in the child for ever. A module that starts threads or opens the GPU makes the template refuse.

The engine connects, sends one line of JSON and gets one back. `{"state": {}}` is answered once everything is
imported; `{"fork": {...}}` (a `ForkRequest`) with the pid and the start time of the new replica. The template reaps
its children and writes how they ended to the file the keeper uses too; when it is killed, they become the keeper's.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hatchway.contract import EXIT_CONTRACT, PROCESS_VARIABLE, ForkRequest, Launch, TemplateLaunch
from hatchway.replica import lifecycle, logs, sockets

MAX_REQUEST_BYTES = 4 * 1024 * 1024
REQUEST_TIMEOUT_S = 10.0


def run(launch: TemplateLaunch) -> int:
    """Import, then fork on request until killed. Returns only in a replica, with its exit code."""
    listener = sockets.listen(launch.socket)
    listener.setblocking(True)
    # Before the imports, as in a replica: loggers and handlers that modules make keep the streams they found.
    log = logs.install("info")
    obstacle = warm(launch.modules)
    sys.stdout.flush()  # or every replica would write it again
    sys.stderr.flush()
    return _Template(launch, listener, log, obstacle).serve()


def warm(modules: Sequence[str]) -> str:
    """Import the modules. Returns why a fork would not be safe after that, or ""."""
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001 (it will fail again in the replica, where it is told)
            continue
        if _n_threads() > 1:
            return f"importing {name} starts threads"
    if any(target.startswith("/dev/nvidia") for target in _open_files()):
        return "an imported module has opened the GPU"
    gc.collect()
    gc.freeze()  # collections in the children do not touch, and so do not copy, the shared pages
    return ""


class _Template:
    def __init__(self, launch: TemplateLaunch, listener: socket.socket, log: logs.Log, obstacle: str) -> None:
        self._launch = launch
        self._listener = listener
        self._log = log
        self._obstacle = obstacle
        self._wakeups = os.pipe()
        for end in self._wakeups:
            os.set_blocking(end, False)
        # Every child that ends writes a byte: none falls between a look and the next wait.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeups[1], warn_on_full_buffer=False)

    def serve(self) -> int:
        while True:
            readable, _, _ = select.select([self._listener.fileno(), self._wakeups[0]], [], [])
            if self._wakeups[0] in readable:
                with suppress(BlockingIOError):
                    os.read(self._wakeups[0], 4096)
                self._reap()
            if self._listener.fileno() in readable:
                connection = self._listener.accept()[0]
                request = self._answer(connection)
                if request is not None:
                    return self._become_replica(request, connection)
                connection.close()

    def _answer(self, connection: socket.socket) -> ForkRequest | None:
        """Answer one request. Returns None, or in the forked process what it is to become."""
        connection.settimeout(REQUEST_TIMEOUT_S)
        with suppress(OSError, ValueError, KeyError, TypeError):
            question = json.loads(_read_line(connection))
            if "fork" not in question:
                _say(connection, {"obstacle": self._obstacle})
            elif self._obstacle:
                _say(connection, {"error": self._obstacle})
            else:
                request = ForkRequest(**question["fork"])
                pid = os.fork()
                if pid == 0:
                    return request
                _say(connection, {"pid": pid, "start_time": _start_time(pid)})  # not reaped yet, even if it has ended
        return None

    def _become_replica(self, request: ForkRequest, connection: socket.socket) -> int:
        try:
            self._listener.close()
            self._leave_signals()
            _redirect(request.log_file)
            self._log.redirect(1)
            _replace_environment(request.environment)
            os.setsid()  # not before: who leads a session under the template's mark is taken for a template
            connection.close()  # not before: if the template dies now, whoever sees this end looks for our mark
            _forget_randomness()
            sys.argv[1:] = [request.launch_file]
            with open(request.launch_file, encoding="utf-8") as file:
                launch = Launch.from_json(file.read())
        except BaseException as exc:  # noqa: BLE001 (nobody above could do anything but end)
            sys.stderr.write(f"the replica cannot start: {exc!r}\n")
            sys.stderr.flush()
            os._exit(EXIT_CONTRACT)
        return lifecycle.run(launch, self._log)

    def _leave_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for end in self._wakeups:
            os.close(end)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
                start_time = _start_time(ended.si_pid)  # can only be read before the process is reaped
                pid, status = os.waitpid(ended.si_pid, 0)
                record = {"pid": pid, "start_time": start_time, "wait_status": status}
                with suppress(OSError), open(self._launch.exits_file, "a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")


# --- in the child ----------------------------------------------------------------------------------------------
def _redirect(log_file: str) -> None:
    for target, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.dup2(1, 2)


def _replace_environment(environment: dict[str, str]) -> None:
    """Also in the block that the process was started with: /proc/PID/environ shows it, and the mark in it is how
    processes of a home are found."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]  # it remembers the template's TMPDIR
    start, end = _environment_block()
    block = ctypes.string_at(start, end - start)
    name = f"{PROCESS_VARIABLE}=".encode()
    at = 0 if block.startswith(name) else block.index(b"\0" + name) + 1
    at += len(name)
    width = block.index(b"\0", at) - at
    mark = environment[PROCESS_VARIABLE].encode()
    if len(mark) > width:
        raise ValueError(f"the mark {mark!r} is longer than the template's room for it")
    ctypes.memmove(start + at, mark.ljust(width, b"\0"), width)


def _environment_block() -> tuple[int, int]:
    """Where the kernel finds the process's environment: env_start and env_end of proc(5)'s stat."""
    fields = _stat_fields(os.getpid())
    return int(fields[47]), int(fields[48])


def _forget_randomness() -> None:
    """Forked replicas must not draw the same numbers. Python's own generator sees to itself."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()


# --- small things ----------------------------------------------------------------------------------------------
def _read_line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        data = connection.recv(65536)
        if not data or len(received) > MAX_REQUEST_BYTES:
            raise ValueError("the request is cut off, or too long")
        received += data
    return received


def _say(connection: socket.socket, answer: dict[str, Any]) -> None:
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _n_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def _start_time(pid: int) -> int:
    return int(_stat_fields(pid)[19])


def _stat_fields(pid: int) -> list[str]:
    """From the third one on: the second, the command, may hold spaces and brackets."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    return text[text.rfind(")") + 2 :].split()
