"""The queue of spans between those who report them and the sender: bounded, in batches, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from hatchway.delays import GrowingDelay
from hatchway.tracing.senders import Sender, Undelivered
from hatchway.tracing.spans import count_spans

log = logging.getLogger(__name__)

MAX_WAITING_SPANS = 16_384  # some 8 MB
MAX_SENT_SPANS = 1024  # in one request
COLLECT_S = 0.5  # what is reported in this time goes together
LAST_SEND_S = 2.0  # for what is left when the engine ends


class Exporter:
    """`sent` and `dropped` count spans since the start; a report that a replica gave up counts as one dropped."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._waiting: deque[tuple[trace_pb2.ResourceSpans, int]] = deque()
        self._n_waiting = 0
        self._has_some = asyncio.Event()
        self.sent = 0
        self.dropped = 0

    def add(self, found: Iterable[trace_pb2.ResourceSpans]) -> None:
        """What finds no room is dropped and counted."""
        for one in found:
            count = count_spans(one)
            if self._n_waiting + count > MAX_WAITING_SPANS:
                self.count_dropped(count)
                continue
            self._waiting.append((one, count))
            self._n_waiting += count
            self._has_some.set()

    def count_dropped(self, count: int) -> None:
        if count and not self.dropped:
            log.warning("spans are dropped: `hatchway status` counts them")
        self.dropped += count

    async def run(self) -> None:
        """Until cancelled; then what waits is sent once."""
        try:
            while True:
                await self._has_some.wait()
                await asyncio.sleep(COLLECT_S)
                await self._send_all()
        finally:
            with contextlib.suppress(TimeoutError, Undelivered):
                async with asyncio.timeout(LAST_SEND_S):
                    while self._waiting:
                        await self._send_batch()
            await self._sender.close()

    async def _send_all(self) -> None:
        delay = GrowingDelay(1.0, 30.0)
        while self._waiting:
            try:
                await self._send_batch()
            except Undelivered as exc:
                log.warning("traces cannot be exported: %s", exc)
                await asyncio.sleep(delay.after())
        self._has_some.clear()

    async def _send_batch(self) -> None:
        """The batch stays where it is until it is taken, or will never be. Raises Undelivered if it may be later."""
        batch = self._batch()
        count = sum(spans for _, spans in batch)
        request = trace_service_pb2.ExportTraceServiceRequest(resource_spans=[one for one, _ in batch])
        try:
            await self._sender.send(request)
        except Undelivered as exc:
            if exc.may_retry:
                raise
            log.warning("traces are refused: %s", exc)
            self.count_dropped(count)
        else:
            self.sent += count
        for _ in batch:
            self._waiting.popleft()
        self._n_waiting -= count

    def _batch(self) -> list[tuple[trace_pb2.ResourceSpans, int]]:
        batch: list[tuple[trace_pb2.ResourceSpans, int]] = []
        total = 0
        for one, count in self._waiting:
            if batch and total + count > MAX_SENT_SPANS:
                break
            batch.append((one, count))
            total += count
        return batch
