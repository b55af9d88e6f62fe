"""What is looked at in each step, and what is left alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hatchway.backends import Replica
from hatchway.errors import GatewayError
from hatchway.gateway.served import BOUNDS_S, Served, Tally
from hatchway.gateway.stats import Load, Requests
from hatchway.metrics.account import Account
from hatchway.metrics.counts import Counts
from hatchway.metrics.sampling import Sampler
from hatchway.spec.timeline import Timeline

BELOW_A_SECOND = tuple(int(bound >= 1) for bound in (*BOUNDS_S, 1e9))


class Street:
    """One API whose traffic and clock are moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answers, self.errors, self.merged, self.elsewhere = 0, 0, 0, 0
        self.in_flight, self.held, self.wish = 0, dict[str, int](), dict[str, int]()
        self.replicas: list[Replica] = []
        self.is_silent = False
        self.looks = 0
        self.kept: dict[str, str] = {}
        counts = Counts(self._served, self)
        self.sampler = Sampler(
            counts, self, lambda: self.replicas, lambda: self.wish, lambda: self.now, lambda: self.now + 5000
        )

    def remember_all(self, facts: Mapping[str, str]) -> None: ...

    def recall(self, key: str) -> str | None:
        return self.kept.get(key)

    def load(self) -> Load | None:
        if self.is_silent:
            return None
        by_api = {"iris": Requests(self.in_flight, self.answers)}
        return Load(by_api, self.answers + self.errors + self.elsewhere)

    def waiting(self) -> Mapping[str, int]:
        return self.held

    async def _served(self) -> Served:
        self.looks += 1
        if self.is_silent:
            raise GatewayError("Envoy does not answer")
        buckets = tuple(self.merged * count for count in BELOW_A_SECOND)
        answers = {("r1", 200): self.answers, ("", 503): self.errors}
        return Served("1", {"iris": Tally(answers, buckets=buckets)} if self.answers or self.errors else {})

    async def tick(self, *, answers: int = 0, errors: int = 0, merged: int = 0) -> Timeline:
        self.answers, self.errors, self.merged = self.answers + answers, self.errors + errors, self.merged + merged
        self.now += 2.0
        await self.sampler.tick()
        return self.sampler.timeline("iris", 3600)


@pytest.fixture
def street() -> Street:
    return Street()


async def test_what_was_answered_before_the_first_look_is_of_no_step(street: Street) -> None:
    found = await street.tick(answers=1000)
    assert found.requests_per_s == (0.0,)


async def test_what_was_counted_before_an_api_was_deleted_is_of_no_step_when_it_comes_back(street: Street) -> None:
    former = Tally({("r1", 200): 5000, ("", 503): 4000})
    street.kept["served:iris"] = Account("gone", last=former).to_json()
    await street.tick()
    found = await street.tick(answers=4)
    assert (found.requests_per_s[-1], found.errors_per_s[-1]) == (2.0, 0.0)


async def test_rates_are_per_second_and_errors_are_of_them(street: Street) -> None:
    await street.tick()
    found = await street.tick(answers=6, errors=2, merged=8)
    assert found.requests_per_s[-1] == 4.0
    assert found.errors_per_s[-1] == 1.0
    assert 700 < (found.p50_ms[-1] or 0) < 1000
    assert found.start == 6000.0


async def test_percentiles_of_a_step_whose_histogram_comes_later_are_those_of_the_one_before(street: Street) -> None:
    await street.tick()
    before = await street.tick(answers=4, merged=4)
    found = await street.tick(answers=4)
    assert found.p95_ms[-1] == before.p95_ms[-1]
    assert (await street.tick(merged=4)).p95_ms[-1] == before.p95_ms[-1]
    assert (await street.tick()).p95_ms[-1] is None


async def test_at_rest_envoy_is_not_asked(street: Street) -> None:
    for _ in range(3):
        await street.tick(answers=1)
    for _ in range(2):
        await street.tick()
    before = street.looks
    for _ in range(10):
        await street.tick()
    assert street.looks == before
    assert (await street.tick(answers=4)).requests_per_s[-1] == 2.0


async def test_what_envoy_answers_itself_is_seen_too(street: Street) -> None:
    for _ in range(5):
        await street.tick()
    street.elsewhere += 1
    before = street.looks
    await street.tick()
    assert street.looks == before + 1


async def test_steps_without_an_answer_of_envoy_are_made_up_for(street: Street) -> None:
    await street.tick()
    street.is_silent = True
    await street.tick(answers=8)
    street.is_silent = False
    found = await street.tick(answers=8)
    assert found.requests_per_s == (0.0, 0.0, 4.0)


async def test_replicas_and_what_is_under_way_are_noted(street: Street) -> None:
    street.replicas = [
        Replica("iris-1", "iris", "r1", "ready", "/run/1", queued=3),
        Replica("iris-2", "iris", "r1", "starting", "/run/2"),
    ]
    street.wish, street.in_flight, street.held = {"iris": 2}, 7, {"iris": 1}
    found = await street.tick()
    assert (found.in_flight, found.queued) == ((7,), (4,))
    assert (found.replicas_ready, found.replicas_wanted) == ((1,), (2,))
    street.replicas, street.wish, street.in_flight, street.held = [], {}, 0, {}
    assert (await street.tick()).replicas_ready == (1, 0)


async def test_sparklines_are_of_apis_that_were_not_at_rest(street: Street) -> None:
    await street.tick()
    assert street.sampler.sparklines() == {}
    await street.tick(answers=4)
    assert list(street.sampler.sparklines()) == ["iris"]
