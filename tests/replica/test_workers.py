from __future__ import annotations

import asyncio
import threading
from collections import deque

from hatchway.replica.workers import Workers


class Line:
    """What workers take from; notes who ran in which thread, and what is finished."""

    def __init__(self, workers: Workers) -> None:
        self.waiting: deque[Item] = deque()
        self.ran: list[int] = []
        self.threads: set[int] = set()
        self.finished: list[int] = []
        self.all_finished = asyncio.Event()
        self.expected = 0
        self._workers = workers
        workers.source = self._take

    def add(self, item: Item) -> None:
        self.expected += 1
        self.waiting.append(item)
        self._workers.wake()

    def _take(self) -> Item | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None


class Item:
    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number

    def execute(self) -> None:
        self._line.ran.append(self._number)
        self._line.threads.add(threading.get_ident())

    def finish(self) -> None:
        self._line.finished.append(self._number)
        if len(self._line.finished) == self._line.expected:
            self._line.all_finished.set()


async def test_one_thread_takes_them_in_order_and_the_loop_finishes_them() -> None:
    line = Line(Workers(asyncio.get_running_loop(), 1))
    for number in range(500):
        line.add(Item(line, number))
    await line.all_finished.wait()
    assert line.ran == line.finished == list(range(500))
    assert len(line.threads) == 1


async def test_none_is_lost_however_they_arrive() -> None:
    line = Line(Workers(asyncio.get_running_loop(), 3))
    for number in range(2000):
        line.add(Item(line, number))
        if number % 7 == 0:
            await asyncio.sleep(0)
        if number % 97 == 0 and number:
            line.all_finished.clear()
            if len(line.finished) < line.expected:
                await line.all_finished.wait()
    if len(line.finished) < line.expected:
        line.all_finished.clear()
        await line.all_finished.wait()
    assert sorted(line.finished) == list(range(2000))
    assert len(line.threads) <= 3


async def test_as_many_run_at_once_as_there_are_threads() -> None:
    line = Line(Workers(asyncio.get_running_loop(), 2))
    both_run = threading.Barrier(2)

    class Meeting(Item):
        def execute(self) -> None:
            both_run.wait()
            super().execute()

    for number in range(4):
        line.add(Meeting(line, number))
    await line.all_finished.wait()
    assert sorted(line.ran) == [0, 1, 2, 3]
    assert len(line.threads) == 2


async def test_a_call_returns_or_raises_what_the_function_does() -> None:
    workers = Workers(asyncio.get_running_loop(), 1)
    thread = await workers.call(threading.get_ident)
    assert thread != threading.get_ident()
    assert await workers.call(threading.get_ident) == thread
    try:
        await workers.call(lambda: exec("raise SystemExit(3)"))
    except SystemExit as exc:
        assert exc.code == 3  # noqa: PT017 (pytest.raises would let the interpreter's exit pass through the loop)
    else:
        raise AssertionError("it did not raise")


async def test_a_long_task_does_not_hold_back_the_answers_of_short_ones() -> None:
    """A worker that has run ahead pauses, so that the loop finishes what is done."""
    line = Line(Workers(asyncio.get_running_loop(), 1))

    class Spinning(Item):
        def execute(self) -> None:
            for _ in range(200_000):
                pass
            super().execute()

    for number in range(5):
        line.add(Spinning(line, number))
    seen = []
    while len(line.finished) < 5:
        await asyncio.sleep(0)
        seen.append(len(line.finished))
    assert line.finished == [0, 1, 2, 3, 4]
    assert {1, 2, 3} & set(seen), "the loop saw none of them before all were done"
