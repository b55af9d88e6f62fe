"""Several calls that one call of the user's method answers, in a worker thread or in the loop.

What happens to one of them stays with it: a payload that cannot be read is answered 4xx and does not join, a caller
who left or ran out of time is not answered, a result that is an exception is that caller's error. Only what the
method itself raises, or a result of the wrong length, is everybody's. An async method is cancelled once all callers
have gone. Where payloads are arrays that the method gets stacked, those of another shape run in a call of their own.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

from hatchway.replica.batching import FailedTogether, one_by_one
from hatchway.replica.calls import App, Call, stack_of, start_task
from hatchway.replica.loading import Method
from hatchway.replica.logs import current_request_id, current_trace_id
from hatchway.replica.responses import is_awaitable
from hatchway.replica.tracing import enter


class Batch:
    """A task of the workers, or `run` in a slot of the loop."""

    def __init__(self, app: App, method: Method, calls: Sequence[Call]) -> None:
        self._app = app
        self._method = method
        self._calls = calls
        self.size = len(calls)
        self._context = app.context.copy()
        self._request_id = calls[0].request_id if len(calls) == 1 else None
        self._context.run(current_request_id.set, self._request_id)
        if app.tracer is not None:
            self._enter_trace()
        self._task: asyncio.Task[None] | None = None
        self._thread_id: int | None = None
        self._is_over = False  # the method has returned: what follows is nobody's to cancel
        self._is_abandoned = False
        for call in calls:
            call.batch = self
        metrics = app.batch_metrics
        if metrics is not None:
            metrics.size.observe(len(calls))
            for call in calls:
                metrics.wait_s.observe(call.started_at - call.came_at)

    def _enter_trace(self) -> None:
        """A call of several traces is told in the first of them; its log lines belong to none."""
        trace = next((call.trace for call in self._calls if call.trace is not None), None)
        if trace is not None:
            self._context.run(enter, trace)
        if len(self._calls) > 1:
            self._context.run(current_trace_id.set, None)

    def stack(self) -> str:
        return stack_of(self._task, self._thread_id)

    def caller_gone(self) -> None:
        """One of them, left or told of the timeout. What runs in the loop for nobody any more is cancelled."""
        is_needed = any(not call.gone and not call.answered for call in self._calls)
        if self._task is not None and not is_needed and not self._is_over:
            self._is_abandoned = True
            self._task.cancel()

    # --- in a worker thread ------------------------------------------------------------------------------
    def execute(self) -> None:
        self._thread_id = threading.get_ident()
        try:
            self._context.run(self._execute)
        except BaseException as exc:  # noqa: BLE001 (whatever it was: the thread lives on)
            self._fail_all(exc)

    def _execute(self) -> None:
        for call in self._calls:
            if call.is_form:
                call.in_loop(self._read_form(call))
        joined = self._joined()
        for group in self._groups(joined):
            try:
                self._hand_out(group, self._method.function(**self._together(group, joined)))
            except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
                _fail(group, exc)
        if any(call.has_follow_up for call in joined):
            self._calls[0].in_loop(self._leave_follow_ups())

    def finish(self) -> None:
        calls, self._calls = self._calls, ()  # or bodies would stay until the garbage collector finds the circle
        for call in calls:
            call.finish()
            call.batch = None

    # --- in the loop -------------------------------------------------------------------------------------
    def run(self) -> None:
        task = start_task(self._run(), self._app.workers.loop, self._context)
        if not task.done():
            self._task = task
            self._app.tasks.add(task)
            task.add_done_callback(self._app.tasks.discard)

    async def _run(self) -> None:
        try:
            await self._answer()
        except BaseException as exc:  # noqa: BLE001 (as above)
            self._fail_all(exc)
        finally:
            self.finish()
            self._app.slots.release()

    async def _answer(self) -> None:
        for call in self._calls:
            if call.is_form:
                await self._read_form(call)
        is_slow = any(call.is_slow_to_read for call in self._calls)
        joined = await self._app.workers.call(self._joined) if is_slow else self._joined()
        for group in self._groups(joined):
            try:
                results = self._method.function(**self._together(group, joined))
                self._hand_out(group, await results if is_awaitable(results) else results)
            except BaseException as exc:
                if self._is_abandoned:
                    raise
                _fail(group, exc)
        self._is_over = True
        if any(call.has_follow_up for call in joined):
            await self._leave_follow_ups()

    async def _leave_follow_ups(self) -> None:
        """Returns when all have had their turn; nobody's answer waits for another's."""
        for call in self._calls:
            call.give()
        for call in self._calls:
            if call.has_follow_up:
                await call.answer_and_leave_follow_up()

    async def _read_form(self, call: Call) -> None:
        try:
            await call.read_form()
        except Exception as exc:  # noqa: BLE001 (a refusal, or a defect of the parser: this caller's only)
            call.failure = exc

    # --- in either ---------------------------------------------------------------------------------------
    def _joined(self) -> dict[Call, dict[str, Any]]:
        """The calls whose arguments can be read, with them; the others have failed, each for itself."""
        joined = {}
        for call in self._calls:
            if call.failure is None:
                current_request_id.set(call.request_id)  # for what validators log
                try:
                    joined[call] = call.arguments()
                except BaseException as exc:  # noqa: BLE001 (as above; validators are the user's code, too)
                    call.failure = exc
        current_request_id.set(self._request_id)
        return joined

    def _groups(self, joined: dict[Call, dict[str, Any]]) -> list[list[Call]]:
        """Who really runs together: all, or those whose arrays have the same shape and so can be stacked."""
        if not self._method.stacks:
            return [list(joined)] if joined else []
        groups: dict[object, list[Call]] = {}
        for call, arguments in joined.items():
            array = arguments["payload"]
            groups.setdefault((array.shape, array.dtype), []).append(call)
        return list(groups.values())

    def _together(self, group: list[Call], joined: dict[Call, dict[str, Any]]) -> dict[str, Any]:
        """What each would get, as what all of them get: for each argument, a list in the order of the calls."""
        columns: dict[str, Any] = {name: [joined[call][name] for call in group] for name in self._method.arguments}
        if self._method.stacks:
            columns["payload"] = sys.modules["numpy"].stack(columns["payload"])
        return columns

    def _fail_all(self, exc: BaseException) -> None:
        for call in self._calls:
            call.failure = call.failure or exc

    def _hand_out(self, calls: list[Call], results: Any) -> None:
        """Raises BadBatch."""
        for call, result in zip(calls, one_by_one(results, len(calls)), strict=True):
            call.accept(result)


def _fail(calls: list[Call], exc: BaseException) -> None:
    """The log has the traceback once, under the first one's id."""
    first, *others = calls
    first.failure = exc
    for call in others:
        call.failure = FailedTogether(f"failed in one batch with the request {first.request_id}: {type(exc).__name__}")
