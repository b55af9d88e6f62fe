"""Sending to a real receiver that is well, slow, down, in error or talks nonsense."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from hatchway.alerts.retries import Answer, describe
from hatchway.alerts.sender import MAX_WAITING, Message, Progress, Sender, post
from tests.alerts.clocks import JumpingClock
from tests.alerts.receiver import OK, a_receiver, refusal


@asynccontextmanager
async def running(sender: Sender) -> AsyncIterator[None]:
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Told:
    """What a sender says of its messages."""

    def __init__(self) -> None:
        self.all: list[tuple[int, Progress]] = []
        self.over: asyncio.Queue[tuple[int, Progress]] = asyncio.Queue()

    def __call__(self, message: Message, progress: Progress) -> None:
        self.all.append((message.id, progress))
        if progress.is_over:
            self.over.put_nowait((message.id, progress))

    async def next(self) -> tuple[int, Progress]:
        async with asyncio.timeout(20):
            return await self.over.get()


async def test_an_alert_arrives_as_json() -> None:
    async with a_receiver() as receiver:
        answer = await post(receiver.url("/hook?key=1"), {"text": "grüße \ud83d"})
        assert answer == Answer(200)
        path, body = await receiver.got.get()
        assert path == "/hook?key=1"
        assert body["text"].startswith("grüße")


async def test_a_receiver_that_refuses_is_quoted_without_the_address() -> None:
    async with a_receiver(refusal(404, "Cannot POST /services/T000/B000/secret\x1b[2J")) as receiver:
        answer = await post(receiver.url(), {})
        assert answer.code == 404
        assert "secret" not in answer.problem
        assert "T000" not in answer.problem
        assert describe(answer) == "answered 404: Cannot POST …[2J"


async def test_a_redirection_is_not_followed() -> None:
    async with a_receiver() as other, a_receiver(refusal(307, "", f"location: {other.url()}")) as receiver:
        assert (await post(receiver.url(), {})).code == 307
        assert other.got.empty()


@pytest.mark.parametrize(
    ("garbage", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "cannot be asked (RemoteProtocolError)"),
        (b"", "cannot be asked (RemoteProtocolError)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ncut", "answered 200"),
        (
            b"HTTP/1.1 500 x\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
            "cannot be asked (DecodingError)",
        ),
        (b"HTTP/1.1 500 x\r\n\r\n" + b"x" * 9_000_000, "answered 500: " + "x" * 200),
    ],
)
async def test_nonsense_is_an_answer_like_another(garbage: bytes, told: str) -> None:
    async with a_receiver(garbage) as receiver:
        assert describe(await post(receiver.url(), {})) == told


async def test_a_receiver_that_is_not_there_is_named_by_nothing() -> None:
    async with a_receiver() as receiver:
        gone = receiver.url()
    for webhook in (gone, "https://" + "a" * 300 + ".example/secret"):
        answer = await post(webhook, {})
        assert answer.code == 0
        assert "secret" not in describe(answer)


async def test_an_alert_is_sent_again_until_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hatchway")  # httpx would tell the address; an engine silences it
    clock, told = JumpingClock(), Told()
    sender = Sender(post, clock, told)
    async with a_receiver(refusal(500), refusal(429, "", "retry-after: 30"), b"nonsense", OK) as receiver:
        async with running(sender):
            sender.send(Message(1, receiver.url(), {"n": 1}))
            sender.send(Message(2, receiver.url(), {"n": 2}))
            assert await told.next() == (1, Progress(True, True, "answered 200"))
            assert (await told.next())[0] == 2
        bodies = [receiver.got.get_nowait()[1]["n"] for _ in range(receiver.got.qsize())]
    assert bodies == [1, 1, 1, 1, 2]  # in order: the second waits for the first
    assert clock.slept == [1, 30, 4]
    assert "secret" not in caplog.text
    assert "http://127.0.0.1" in caplog.text


async def test_a_refusal_that_will_last_is_not_repeated() -> None:
    clock, told = JumpingClock(), Told()
    sender = Sender(post, clock, told)
    async with a_receiver(refusal(403, "invalid_token")) as receiver, running(sender):
        sender.send(Message(1, receiver.url(), {}))
        assert await told.next() == (1, Progress(True, False, "answered 403: invalid_token"))
    assert clock.slept == []


async def test_a_receiver_that_is_down_for_long_is_given_up() -> None:
    clock, told = JumpingClock(), Told()

    async def nobody(webhook: str, body: dict[str, Any]) -> Answer:
        return Answer(0, "cannot be reached")

    sender = Sender(nobody, clock, told)
    async with running(sender):
        sender.send(Message(1, "http://down/x", {}))
        assert await told.next() == (1, Progress(True, False, "cannot be reached"))
    assert sum(clock.slept) <= 3600


async def test_a_receiver_that_hangs_holds_up_nobody_else() -> None:
    told = Told()
    sender = Sender(post, JumpingClock(), told)
    async with a_receiver(None) as slow, a_receiver() as quick, running(sender):
        sender.send(Message(1, slow.url(), {}))
        await slow.next()
        sender.send(Message(2, quick.url(), {}))
        assert (await told.next())[0] == 2


async def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    told = Told()
    sender = Sender(post, JumpingClock(), told)
    for id in range(MAX_WAITING + 2):
        sender.send(Message(id, "http://x/", {}))
    assert [(id, progress.told) for id, progress in told.all] == [
        (0, "lost: too many wait"),
        (1, "lost: too many wait"),
    ]


def test_a_message_shows_nothing_of_its_address() -> None:
    assert "secret" not in repr(Message(1, "http://x/secret", {}))
