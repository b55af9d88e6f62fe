"""Several calls that one call of the user's method answers, in a worker thread or in the loop.

What happens to one of them stays with it: a payload that cannot be read is answered 4xx and does not join, a caller
who left or ran out of time is not answered, a result that is an exception is that caller's error. Only what the
method itself raises, or a result of the wrong length, is everybody's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Sequence
from typing import Any

from hatchway.replica.batching import FailedTogether, one_by_one
from hatchway.replica.calls import App, Call, stack_of, start_task
from hatchway.replica.loading import Method, describe
from hatchway.replica.logs import current_request_id
from hatchway.replica.responses import is_awaitable


class Batch:
    """A task of the workers, or `run` in a slot of the loop."""

    def __init__(self, app: App, method: Method, calls: Sequence[Call]) -> None:
        self._app = app
        self._method = method
        self._calls = calls
        self._context = app.context.copy()
        self._task: asyncio.Task[None] | None = None
        self._thread_id: int | None = None
        for call in calls:
            call.batch = self
        metrics = app.batch_metrics
        if metrics is not None:
            metrics.size.observe(len(calls))
            for call in calls:
                metrics.wait_s.observe(call.started_at - call.came_at)

    def stack(self) -> str:
        return stack_of(self._task, self._thread_id)

    # --- in a worker thread ------------------------------------------------------------------------------
    def execute(self) -> None:
        self._thread_id = threading.get_ident()
        self._context.run(self._execute)

    def _execute(self) -> None:
        for call in self._calls:
            if call.is_form:
                call.in_loop(self._read_form(call))
        joined = self._joined()
        if joined:
            try:
                self._hand_out(list(joined), self._method.function(**_in_columns(joined.values())))
            except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
                _fail(list(joined), exc)
        for call in joined:
            if call.has_follow_up:
                call.in_loop(call.answer_and_leave_follow_up())

    def finish(self) -> None:
        for call in self._calls:
            call.finish()

    # --- in the loop -------------------------------------------------------------------------------------
    def run(self) -> None:
        task = start_task(self._run(), self._app.workers.loop, self._context)
        if not task.done():
            self._task = task
            self._app.tasks.add(task)
            task.add_done_callback(self._app.tasks.discard)

    async def _run(self) -> None:
        for call in self._calls:
            if call.is_form:
                await self._read_form(call)
        joined = self._joined()
        if joined:
            try:
                results = self._method.function(**_in_columns(joined.values()))
                self._hand_out(list(joined), await results if is_awaitable(results) else results)
            except BaseException as exc:  # noqa: BLE001 (as above)
                _fail(list(joined), exc)
        for call in joined:
            if call.has_follow_up:
                await call.answer_and_leave_follow_up()
        self.finish()
        self._app.slots.release()

    async def _read_form(self, call: Call) -> None:
        try:
            await call.read_form()
        except Exception as exc:  # noqa: BLE001 (a refusal, or a defect of the parser: this caller's only)
            call.failure = exc

    # --- in either ---------------------------------------------------------------------------------------
    def _joined(self) -> dict[Call, dict[str, Any]]:
        """The calls whose arguments can be read, with them; the others have failed, each for itself."""
        current_request_id.set(self._calls[0].request_id if len(self._calls) == 1 else None)
        joined = {}
        for call in self._calls:
            if call.failure is None:
                try:
                    joined[call] = call.arguments()
                except Exception as exc:  # noqa: BLE001 (as above)
                    call.failure = exc
        return joined

    def _hand_out(self, calls: list[Call], results: Any) -> None:
        """Raises BadBatch."""
        for call, result in zip(calls, one_by_one(results, len(calls)), strict=True):
            call.accept(result)


def _in_columns(rows: Collection[dict[str, Any]]) -> dict[str, list[Any]]:
    """What each call would get, as what all of them get: for each argument, a list in the order of the calls."""
    return {name: [row[name] for row in rows] for name in next(iter(rows))}


def _fail(calls: list[Call], exc: BaseException) -> None:
    """The log has the traceback once, under the first one's id."""
    first, *others = calls
    first.failure = exc
    for call in others:
        call.failure = FailedTogether(f"failed in one batch with the request {first.request_id}: {describe(exc)}")
