"""Work that a handler leaves for after its answer: the callable of a returned `(result, callable)`.

At most as many run at once as there are slots. One that has to wait keeps the slot of its request until it starts: so
nothing piles up, nothing is dropped, and a handler that leaves more work than can be done is slowed down.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from hatchway.replica.logs import Log, format_exception
from hatchway.replica.workers import Workers


def split(result: Any) -> tuple[Any, Callable[[], Any] | None]:
    """What is to be sent, and what is to be run after that."""
    if type(result) is tuple and len(result) == 2 and callable(result[1]):
        return result
    return result, None


class FollowUp:
    """One of them; a task of the workers. `on_start` is called in the loop as soon as it has its turn."""

    def __init__(
        self, function: Callable[[], Any], context: contextvars.Context, request_id: str, on_start: Callable[[], None]
    ) -> None:
        self.function = function
        self.context = context
        self.request_id = request_id
        self.on_start = on_start
        self.pending: Coroutine[Any, Any, Any] | None = None  # an async one still has to be awaited in the loop
        self.error: BaseException | None = None
        self.on_end: Callable[[FollowUp], None]

    def execute(self) -> None:
        try:
            found = self.context.run(self.function)
            if inspect.iscoroutine(found):
                self.pending = found
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
            self.error = exc

    def finish(self) -> None:
        self.on_end(self)


class FollowUps:
    """All of a replica."""

    def __init__(self, workers: Workers, log: Log, max_running: int) -> None:
        self._workers = workers
        self._log = log
        self._max_running = max_running
        self._running = 0
        self._waiting: deque[FollowUp] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop holds its tasks by weak references only
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, follow_up: FollowUp) -> None:
        """Run it in a thread (an async one in the loop), now or when its turn has come."""
        self._idle.clear()
        self._waiting.append(follow_up)
        self._start()

    async def wait_idle(self) -> None:
        await self._idle.wait()

    def _start(self) -> None:
        while self._waiting and self._running < self._max_running:
            follow_up = self._waiting.popleft()
            self._running += 1
            follow_up.on_end = self._called
            self._workers.submit(follow_up)
            follow_up.on_start()

    def _called(self, follow_up: FollowUp) -> None:
        if follow_up.pending is None:
            self._ended(follow_up)
            return
        task = self._workers.loop.create_task(self._await(follow_up, follow_up.pending), context=follow_up.context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _await(self, follow_up: FollowUp, pending: Coroutine[Any, Any, Any]) -> None:
        try:
            await pending
        except BaseException as exc:  # noqa: BLE001 (as above)
            follow_up.error = exc
        self._ended(follow_up)

    def _ended(self, follow_up: FollowUp) -> None:
        error = follow_up.error
        if error is not None:
            text = format_exception(type(error), error, error.__traceback__)
            self._log.say("ERROR", f"what was to run after the answer failed:\n{text}", follow_up.request_id)
        self._running -= 1
        self._start()
        if not self._running:
            self._idle.set()
