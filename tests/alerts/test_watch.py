"""Facts in, messages out, over engines that come and go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hatchway.alerts.decide import Traffic
from hatchway.alerts.retries import Answer
from hatchway.alerts.sender import post
from hatchway.alerts.watch import Alerter, Sources
from hatchway.errors import Conflict, NotFound, StorageError
from hatchway.spec.api import Alerts
from hatchway.spec.status import ApiStatus
from hatchway.store.sqlite import Store
from tests.alerts.clocks import StandingClock
from tests.alerts.receiver import Receiver, a_receiver, refusal
from tests.control_api.memory_plane import an_api

BAD = Traffic(100, 50, 300)
GOOD = Traffic(100, 0, 300)


class Home:
    """What stays while engines come and go: the store and the APIs."""

    def __init__(self, folder: Path, webhook: str | None) -> None:
        self.store = Store(folder / "engine.db")
        self.apis: dict[str, ApiStatus] = {"iris": an_api("iris")}
        self.settings = {"iris": Alerts(webhook=webhook)}
        self.traffic: Traffic | None = GOOD
        self.drift: dict[str, str] | None = None
        self.clock = StandingClock()

    def engine(self, send: Any = post, default_webhook: str | None = None) -> Alerter:
        return Alerter(
            Sources(lambda: self.settings, self._status, lambda api, window_s: self.traffic, lambda api: self.drift),
            self.store,
            send,
            self.clock,
            default_webhook=default_webhook,
            machine="lab",
        )

    def _status(self, api: str) -> ApiStatus:
        if api not in self.apis:
            raise NotFound(f"there is no API named {api}")
        return self.apis[api]


@asynccontextmanager
async def running(watch: Alerter) -> AsyncIterator[None]:
    """Its loop looks once, at the start; then the test does."""
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def a_home(tmp_path: Path, *answers: bytes | None) -> AsyncIterator[tuple[Home, Receiver]]:
    async with a_receiver(*answers) as receiver:
        home = Home(tmp_path, receiver.url())
        with home.store:
            yield home, receiver


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


async def test_an_alert_is_raised_listed_and_resolved(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        watch = home.engine()
        async with running(watch):
            assert watch.list() == []
            home.traffic = BAD
            watch.look()
            watch.look()
            assert (await receiver.next())["status"] == "firing"
            await until(lambda: watch.list()[0].delivery == "sent")
            (alert,) = watch.list("iris")
            assert (alert.alert, alert.receiver) == ("HighErrorRate", "answered 200")
            assert alert.webhook == f"http://127.0.0.1:{receiver.port}/…"
            home.traffic = GOOD
            watch.look()
            assert (await receiver.next())["status"] == "resolved"
            assert watch.list() == []
        assert receiver.got.empty()


async def test_the_next_engine_repeats_nothing_and_resolves_what_the_last_one_raised(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        home.traffic = BAD
        watch = home.engine()
        async with running(watch):
            first = await receiver.next()
            await until(lambda: watch.list()[0].delivery == "sent")
        home.traffic = Traffic(0, 0, 2)  # the new engine has seen nothing yet
        async with running(home.engine()):
            pass
        assert receiver.got.empty()
        home.traffic = GOOD
        async with running(home.engine()):
            second = await receiver.next()
    assert second["status"] == "resolved"
    assert second["alerts"][0]["startsAt"] == first["alerts"][0]["startsAt"]


async def test_what_an_engine_could_not_send_the_next_one_sends(tmp_path: Path) -> None:
    async with a_home(tmp_path, refusal(503)) as (home, receiver):
        home.traffic = BAD
        watch = home.engine()
        async with running(watch):
            await receiver.next()
            await until(lambda: watch.list()[0].receiver == "answered 503")
            assert watch.list()[0].delivery == "waiting"
        watch = home.engine()
        async with running(watch):
            assert (await receiver.next())["status"] == "firing"
            await until(lambda: watch.list()[0].delivery == "sent")
        async with running(home.engine()):
            pass
        assert receiver.got.empty()


async def test_an_alert_that_cannot_be_noted_is_not_sent_but_kept_for_the_next_look(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        watch = home.engine()
        async with running(watch):
            home.traffic = BAD
            home.store.close()
            with pytest.raises(StorageError):
                watch.look()
            assert watch.list() == []
        assert receiver.got.empty()


async def test_an_api_that_is_deleted_or_watched_no_longer_resolves_its_alerts(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        home.traffic = BAD
        watch = home.engine()
        async with running(watch):
            await receiver.next()
            del home.apis["iris"]
            watch.look()  # its settings are still known for a moment
            home.settings = {}
            watch.look()
            assert (await receiver.next())["status"] == "resolved"
            assert watch.list() == []
        home.settings, home.apis = {"iris": Alerts(webhook=receiver.url())}, {"iris": an_api()}
        async with running(home.engine()):  # one of the same name begins anew
            assert (await receiver.next())["status"] == "firing"


async def test_apis_without_a_webhook_use_that_of_the_home_or_none(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        home.settings = {"iris": Alerts()}
        home.traffic = BAD
        async with running(home.engine()):
            pass
        assert receiver.got.empty()
        async with running(home.engine(default_webhook=receiver.url("/home"))):
            await receiver.next()


async def test_a_test_message_is_sent_once_and_says_what_came_back(tmp_path: Path) -> None:
    async with a_home(tmp_path, refusal(500, "no_text")) as (home, receiver):
        watch = home.engine()
        bad = await watch.test("iris")
        assert (bad.taken, bad.receiver) == (False, "answered 500: no_text")
        good = await watch.test("iris")
        assert (good.taken, good.webhook) == (True, f"http://127.0.0.1:{receiver.port}/…")
        assert (await receiver.next())["alerts"][0]["labels"]["alertname"] == "Test"
        home.settings = {"iris": Alerts()}
        with pytest.raises(Conflict, match="iris has no webhook"):
            await watch.test("iris")
        with pytest.raises(NotFound):
            await watch.test("nope")


async def test_notes_of_another_release_are_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def taken(webhook: str, body: dict[str, Any]) -> Answer:
        return Answer(200)

    async with a_home(tmp_path) as (home, _):
        for note in (
            "{",
            "[]",
            '{"memory": {}}',
            '{"memory": {"raised": {"Drift": 1}, "restarts": {}, "crashes": []}}',
        ):
            home.store.remember("alerts:iris", note)
            home.engine(taken).look()
    assert caplog.text.count("cannot be read") == 4


async def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, _):
        watch = home.engine()
        watch.look()
        home.store.remember("alerts:iris", "untouched")
        home.clock.at += 1000
        watch.look()
        assert home.store.recall("alerts:iris") == "untouched"


async def test_drift_is_told(tmp_path: Path) -> None:
    async with a_home(tmp_path) as (home, receiver):
        home.drift = {"input.age": "drift", "output": "ok"}
        async with running(home.engine()):
            assert "input.age" in (await receiver.next())["text"]
