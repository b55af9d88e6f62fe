"""From a report to a receiver: over HTTP and gRPC, when the receiver is slow, refuses or is not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from hatchway.contract import TRACES_PATH
from hatchway.trace_settings import TraceSettings
from hatchway.tracing.collector import MAX_BODY_BYTES, OTLP_PATH, make_collector
from hatchway.tracing.exporter import MAX_SENT_SPANS, MAX_WAITING_SPANS, Exporter
from hatchway.tracing.senders import Undelivered, make_sender
from hatchway.tracing.spans import count_spans, spans_of_replica
from tests.tracing.receiver import Receiver, grpc_receiver, http_receiver
from tests.tracing.reports import TRACE_ID, a_report

SETTINGS = TraceSettings("http://x")


class Desk:
    """A sender that keeps what it is given, or says `problems` first."""

    def __init__(self, *problems: Undelivered) -> None:
        self.problems = list(problems)
        self.sizes: list[int] = []
        self.is_closed = False

    async def send(self, request: Any) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.sizes.append(sum(count_spans(one) for one in request.resource_spans))

    async def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def running(exporter: Exporter) -> AsyncIterator[None]:
    task = asyncio.create_task(exporter.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_sent(exporter: Exporter, count: int) -> None:
    async with asyncio.timeout(20):
        while exporter.sent < count:  # noqa: ASYNC110  # what the sender did has no event
            await asyncio.sleep(0.01)


def reports(count: int) -> list[Any]:
    return [spans_of_replica(a_report(), SETTINGS) for _ in range(count)]


def settings_for(receiver: Receiver, **changes: Any) -> TraceSettings:
    path = "" if changes.get("protocol") == "grpc" else "/v1/traces"
    return TraceSettings(receiver.endpoint + path, headers=(("api-key", "s3cret"),), **changes)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_spans_arrive(protocol: Any, is_compressed: bool) -> None:
    with (grpc_receiver if protocol == "grpc" else http_receiver)() as receiver:
        settings = settings_for(receiver, protocol=protocol, is_compressed=is_compressed)
        exporter = Exporter(make_sender(settings))
        async with running(exporter):
            exporter.add(reports(1))
            await until_sent(exporter, 3)
    assert {span.name for span in receiver.spans} == {"POST", "queue", "handler"}
    assert receiver.spans[0].trace_id == TRACE_ID
    assert receiver.headers[0]["api-key"] == "s3cret"


async def test_a_receiver_that_is_busy_is_asked_again_and_one_that_refuses_is_not() -> None:
    with http_receiver() as receiver:
        receiver.answers += [503, 400]
        exporter = Exporter(make_sender(settings_for(receiver)))
        async with running(exporter):
            exporter.add(reports(1))
            async with asyncio.timeout(20):
                while not exporter.dropped:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
            exporter.add(reports(1))
            await until_sent(exporter, 3)
    assert (exporter.sent, exporter.dropped, len(receiver.spans)) == (3, 3, 3)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_receiver_that_is_not_there_may_come(protocol: Any) -> None:
    sender = make_sender(TraceSettings("http://127.0.0.1:9", protocol=protocol, timeout_s=5))
    with pytest.raises(Undelivered) as caught:
        await sender.send(trace_service_pb2.ExportTraceServiceRequest())
    assert caught.value.may_retry
    await sender.close()


async def test_what_finds_no_room_is_dropped_and_counted() -> None:
    exporter = Exporter(Desk())
    exporter.add(reports(MAX_WAITING_SPANS // 3 + 10))
    assert 0 < exporter.dropped <= 30
    exporter.count_dropped(5)
    assert exporter.dropped > 5


async def test_much_goes_in_several_requests() -> None:
    desk = Desk()
    exporter = Exporter(desk)
    async with running(exporter):
        exporter.add(reports(1000))
        await until_sent(exporter, 3000)
    assert max(desk.sizes) <= MAX_SENT_SPANS
    assert sum(desk.sizes) == 3000


async def test_at_the_end_what_waits_is_sent_once() -> None:
    desk = Desk()
    exporter = Exporter(desk)
    async with running(exporter):
        exporter.add(reports(1))
        await asyncio.sleep(0)
    assert (desk.sizes, desk.is_closed) == ([3], True)
    gone = Desk(Undelivered("no", may_retry=True))
    exporter = Exporter(gone)
    async with running(exporter):
        exporter.add(reports(1))
        await asyncio.sleep(0)
    assert (gone.sizes, gone.is_closed) == ([], True)


async def test_a_collector_takes_what_is_of_its_form_and_counts_the_rest() -> None:
    exporter = Exporter(Desk())
    transport = httpx.ASGITransport(make_collector(exporter, SETTINGS))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        assert (await client.post(TRACES_PATH, content=a_report(dropped=2).to_json())).status_code == 200
        assert exporter.dropped == 2
        for nonsense in (b"", b"[]", b'{"requests": [{}]}', a_report(trace_id="x").to_json().encode()):
            assert (await client.post(TRACES_PATH, content=nonsense)).status_code == 200
        assert exporter.dropped == 6
        assert (await client.post(OTLP_PATH, content=b"\xff\xff")).status_code == 400
        assert (await client.post(TRACES_PATH, content=b"x" * (MAX_BODY_BYTES + 1))).status_code == 200
    assert exporter.dropped == 7
