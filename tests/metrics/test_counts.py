"""Counts over the deaths of Envoy and engine: they never go backwards, and lose what nobody saw, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from hatchway.errors import GatewayError, StorageError
from hatchway.gateway.served import Served, Tally
from hatchway.metrics.account import Account
from hatchway.metrics.counts import Counts


def tally(count: int) -> Tally:
    return Tally({("r1", 200): count}, held=1, retries=2, microseconds=count * 10, buckets=(count, count))


class Disk:
    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.is_full = False
        self.writes = 0

    def remember_all(self, facts: Mapping[str, str]) -> None:
        if self.is_full:
            raise StorageError("the disk is full")
        self.writes += bool(facts)
        self.facts.update(facts)

    def recall(self, key: str) -> str | None:
        return self.facts.get(key)


class Home:
    """One disk and one Envoy, and an engine that can be replaced by the next one."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.envoy, self.count, self.answers = "1:100", 0, True
        self.next_engine()

    def next_engine(self) -> None:
        self.counts = Counts(self._served, self.disk)
        self.counts.restore(["iris"])

    async def _served(self) -> Served:
        if not self.answers:
            raise GatewayError("Envoy does not answer")
        return Served(self.envoy, {"iris": tally(self.count)} if self.count else {})

    def next_envoy(self) -> None:
        self.envoy, self.count = f"{self.envoy}+", 0

    async def total(self) -> int:
        found = await self.counts.look()
        return found["iris"].total if "iris" in found else 0


async def test_an_envoy_that_lives_is_believed_whatever_the_engine_does() -> None:
    home = Home()
    home.count = 5
    assert await home.total() == 5
    home.next_engine()
    home.count = 9
    assert await home.total() == 9


async def test_what_a_dead_envoy_had_counted_is_carried_on() -> None:
    home = Home()
    home.count = 5
    await home.counts.look()
    home.next_envoy()
    assert await home.total() == 5
    home.count = 7  # more than before: only the process tells that it is another Envoy
    assert await home.total() == 12


async def test_both_may_die_at_once_for_what_was_saved() -> None:
    home = Home()
    home.count = 5
    await home.counts.look()
    home.counts.save()
    home.count = 6
    await home.counts.look()  # and not saved
    home.next_envoy()
    home.next_engine()
    home.count = 1
    assert await home.total() == 6
    assert home.counts.totals()["iris"].buckets == (6, 6)


async def test_an_api_that_is_not_restored_is_found_when_envoy_names_it() -> None:
    home = Home()
    home.disk.facts["served:lost"] = Account("gone", tally(3), tally(4)).to_json()
    home.counts.take(Served("1:100", {"lost": tally(1)}))
    assert home.counts.totals()["lost"].total == 8


async def test_what_another_release_saved_is_left_out() -> None:
    home = Home()
    home.disk.facts["served:iris"] = '{"version": 9}'
    home.next_engine()
    home.count = 2
    assert await home.total() == 2


async def test_without_envoy_the_counts_stay_as_they_were() -> None:
    home = Home()
    home.count = 2
    await home.counts.look()
    home.answers = False
    try:
        await home.counts.look()
    except GatewayError:
        assert home.counts.totals()["iris"].total == 2
    else:
        raise AssertionError("nobody said that Envoy does not answer")


async def test_only_changes_are_saved_and_a_full_disk_is_tried_again() -> None:
    home = Home()
    home.count = 2
    await home.counts.look()
    home.disk.is_full = True
    home.counts.save()
    home.disk.is_full = False
    home.counts.save()
    await home.counts.look()
    home.counts.save()
    assert home.disk.writes == 1


def test_retries_that_begin_anew_with_the_cluster_of_an_api_do_not_count_its_answers_twice() -> None:
    account = Account().seen("1", tally(5))
    account = account.seen("1", Tally({("r1", 200): 6}, held=1, retries=0, microseconds=60, buckets=(6, 6)))
    assert account.total() == Tally({("r1", 200): 6}, held=1, retries=2, microseconds=60, buckets=(6, 6))
    assert account.seen("1", tally(7)).total().retries == 4


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=20))
def test_counts_never_go_backwards(looks: list[tuple[bool, int]]) -> None:
    account, n_envoys, count, served = Account(), 0, 0, 0
    for is_new, more in looks:
        n_envoys, count = (n_envoys + 1, more) if is_new else (n_envoys, count + more)
        served += more
        account = Account.from_json(account.seen(str(n_envoys), tally(count)).to_json())
        assert account.total().total == served
