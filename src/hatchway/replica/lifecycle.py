"""A replica's life: control socket, load, warm-up, data socket, ready, drain, exit with a code that means something.

`run` is also called in a process that a template forked for it, with the log that the template installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial

import uvloop

from hatchway.contract import (
    EXIT_LOAD_FAILED,
    EXIT_OK,
    EXIT_STUCK,
    EXIT_WARMUP_FAILED,
    HEADER_REVISION,
    FoundRequests,
    LastWords,
    Launch,
    ReplicaStats,
)
from hatchway.errors import LoadError
from hatchway.replica import logs, plain_log, pools, sockets
from hatchway.replica.asgi import AsgiFront
from hatchway.replica.connection import Listener
from hatchway.replica.control import Control, State
from hatchway.replica.front import Front, HandlerFront
from hatchway.replica.gate import Job
from hatchway.replica.metrics import Metrics
from hatchway.replica.tracing import Tracer

EXIT_GRACE_S = 5.0  # for the user's own threads and exit hooks, once everything is answered
CONTROL_BODY_BYTES = 64 * 1024
LONGEST_MESSAGE_CHARS = 600  # of last words in a termination log: 3,600 bytes if all are escaped


def run(launch: Launch, forked_log: logs.Log | None = None) -> int:
    """Serve until told to stop; the exit code of the process."""
    log = forked_log or (plain_log.install if launch.plain_log else logs.install)(launch.log_level)
    logging.getLogger().setLevel(launch.log_level.upper())
    os.chdir(launch.project_dir)
    folders = [launch.project_dir]
    if launch.python_path:
        folders.append(os.path.normpath(os.path.join(launch.project_dir, launch.python_path)))
    sys.path[:0] = folders
    if launch.asgi_packages:
        sys.path.append(launch.asgi_packages)  # last, so that it only fills gaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Until the loop takes over: nothing has been answered yet, so there is nothing to finish.
    signal.signal(signal.SIGTERM, lambda *_: _leave_at_once(launch))
    os.register_at_fork(after_in_child=_leave_signals)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        code = _run_until_done(loop, _live(launch, log, is_forked=forked_log is not None), log)
    finally:
        _remove_sockets(launch)
    sys.stdout.flush()
    sys.stderr.flush()
    threading.Thread(target=_end_anyway, args=(code,), daemon=True).start()
    return code


def _run_until_done(loop: asyncio.AbstractEventLoop, life: Coroutine[None, None, int], log: logs.Log) -> int:
    main = loop.create_task(life, name="replica")
    while True:
        try:
            return loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as exc:
            if main.done():
                raise
            # A task or callback of the user's own tried to leave the process; requests are still being answered.
            log.say("ERROR", f"a background task raised {type(exc).__name__}; the replica goes on")


async def _live(launch: Launch, log: logs.Log, *, is_forked: bool) -> int:
    raises_pools = is_forked and launch.cpu_threads > 1
    return await Replica(launch, log, partial(pools.raise_to, launch.cpu_threads) if raises_pools else None).live()


class Replica:
    """One replica from start to end."""

    def __init__(self, launch: Launch, log: logs.Log, prepare_thread: Callable[[], None] | None) -> None:
        self._launch = launch
        self._log = log
        self._state = State()
        self._metrics = Metrics()
        self._stopping = asyncio.Event()
        self._code = EXIT_OK
        self._front: Front = (
            AsgiFront(launch, log, self._on_stuck)
            if launch.app
            else HandlerFront(launch, log, self._metrics, self._on_stuck, prepare_thread)
        )

        if launch.traces_socket is not None:
            self._front.tracer = Tracer(launch, launch.traces_socket, log, self._metrics)

    async def live(self) -> int:
        control = Control(self._state, self.stats, self._metrics, self._find_request, self._front.sampler)
        revision = f"{HEADER_REVISION}: {self._launch.revision}\r\n".encode()
        listener = Listener(control.receive, max_body_bytes=CONTROL_BODY_BYTES, common_headers=revision)
        loop = asyncio.get_running_loop()
        if self._launch.lifeline_fd is not None:
            loop.add_reader(self._launch.lifeline_fd, _leave_at_once, self._launch)
        server = await sockets.serve(listener.connect, self._launch.control_socket)
        try:
            await self._start()
        except LoadError as exc:
            return self._give_up(exc)
        await self._stopping.wait()
        self._state.stop()
        sockets.remove(self._launch.data_socket)  # connecting fails from now on, and is safe to try elsewhere
        self._log.say("INFO", "draining")
        await self._front.drain()
        if self._front.tracer is not None:
            await self._front.tracer.close()
        server.close()
        self._log.say("INFO", "stopped")
        return self._code

    async def _start(self) -> None:
        await self._front.load()
        logs.leave_logging_to_the_user()
        await self._front.warm_up(self._launch.warmup)
        gc.collect()
        gc.freeze()  # the model is not looked at again by every collection
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        await self._front.open()
        self._state.become_ready()
        self._log.say("INFO", f"ready: {self._front.title}")

    def stats(self) -> ReplicaStats:
        admission, counts = self._front.gate.admission, self._front.counts
        return ReplicaStats(
            state=self._state.name,
            in_flight=admission.in_flight,
            queued=admission.queued,
            requests=counts.requests,
            errors=counts.errors,
            refused=counts.refused,
            max_concurrency=admission.max_concurrency,
            max_queue_length=admission.max_queue_length,
            handler=self._front.title,
        )

    def _find_request(self, request_id: str) -> FoundRequests:
        return self._front.records.find(request_id, self._front.gate.live(request_id))

    def _terminate(self) -> None:
        if self._stopping.is_set():
            _leave_at_once(self._launch)
        self._stopping.set()

    def _on_stuck(self, job: Job) -> None:
        limit_s = self._front.gate.timeout_s
        message = f"a handler ran past its timeout of {limit_s:g} s and could not be interrupted; replacing the replica"
        self._say_last_words(LastWords("Stuck", message, job.stack()))
        self._code = EXIT_STUCK
        self._stopping.set()

    def _give_up(self, error: LoadError) -> int:
        cause = error.__cause__
        trace = logs.format_exception(type(cause), cause, cause.__traceback__) if cause is not None else ""
        message = f"{error} ({error.hint})" if error.hint else str(error)
        self._say_last_words(LastWords(error.reason, message, trace))
        return EXIT_WARMUP_FAILED if error.reason == "WarmupFailed" else EXIT_LOAD_FAILED

    def _say_last_words(self, words: LastWords) -> None:
        text = f"{words.reason}: {words.message}" + (f"\n{words.traceback}" if words.traceback else "")
        self._log.say("ERROR", text)
        path = self._launch.last_words_path
        try:
            if os.path.exists(path):  # a pod's termination log: mounted, so it cannot be replaced, and 4 KiB at most
                _write(path, LastWords(words.reason, words.message[:LONGEST_MESSAGE_CHARS]))
            else:
                _write(path + ".new", words)
                os.replace(path + ".new", path)
        except OSError as exc:
            self._log.say("ERROR", f"cannot write {path}: {exc.strerror}")


def _write(path: str, words: LastWords) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(words.to_json())


def _leave_signals() -> None:
    """In a process that the user's code forks: through the pipe that wakes the loop, its signals would reach us."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave_at_once(launch: Launch) -> None:
    _remove_sockets(launch)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(EXIT_OK)


def _remove_sockets(launch: Launch) -> None:
    sockets.remove(launch.data_socket)
    sockets.remove(launch.control_socket)


def _end_anyway(code: int) -> None:
    """Exit hooks and threads of the user's get a moment; none of them keeps a stopped replica alive."""
    threading.Event().wait(EXIT_GRACE_S)
    os._exit(code)
