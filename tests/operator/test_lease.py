"""Election by a Lease, on the double: one leads, the next takes over, and who may have lost it does not write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.resources import LEASES, SECRETS, Json
from hatchway.operator.leadership import NAME, Timing, holder
from hatchway.operator.lease import Leadership, NotLeading
from tests.kubernetes.double import Cluster, a_cluster

QUICK = Timing(lease_s=1, lead_s=0.6, look_s=0.05)
PATIENCE_S = 60.0


@dataclass
class Candidate:
    """An operator that does nothing but stand for election."""

    name: str
    leadership: Leadership
    leads: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def lead(self) -> None:
        self.leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leads.clear()
            self.ended.set()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[ApiServer]:
    made = ApiServer(connect_to(cluster.url, cluster.token))
    yield made
    await made.close()


@asynccontextmanager
async def standing(cluster: Cluster, name: str, timing: Timing = QUICK) -> AsyncIterator[Candidate]:
    server = ApiServer(connect_to(cluster.url, cluster.token))
    candidate = Candidate(name, Leadership(server, name, timing))
    task = asyncio.create_task(candidate.leadership.run(candidate.lead))
    try:
        yield candidate
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.close()


async def within(wait: Awaitable[object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await wait


async def until(server: ApiServer, holds: Callable[[Json], bool]) -> Json:
    async with asyncio.timeout(PATIENCE_S):
        while not holds(lease := await server.get(LEASES, NAME)):  # noqa: ASYNC110 (the server is what it looks at)
            await asyncio.sleep(0.01)
    return lease


async def test_the_first_leads_and_renews_and_the_next_one_follows_without_delay_when_it_ends(
    cluster: Cluster, server: ApiServer
) -> None:
    patient = Timing(lease_s=3600, lead_s=1800, look_s=0.05)  # nobody waits for so long: it was given back
    async with standing(cluster, "first", patient) as first:
        await within(first.leads.wait())
        won = await server.get(LEASES, NAME)
        await until(server, lambda lease: lease["spec"]["renewTime"] > won["spec"]["renewTime"])
    async with standing(cluster, "second", patient) as second:
        await within(second.leads.wait())
        lease = await server.get(LEASES, NAME)
        assert (holder(lease), lease["spec"]["leaseTransitions"]) == ("second", 1)


async def test_of_many_who_want_it_one_gets_it(cluster: Cluster, server: ApiServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        all_of_them = [await stack.enter_async_context(standing(cluster, f"no-{n}")) for n in range(4)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(
                [asyncio.ensure_future(each.leads.wait()) for each in all_of_them],
                return_when=asyncio.FIRST_COMPLETED,
            )
        before = await server.get(LEASES, NAME)
        await until(server, lambda lease: lease["spec"]["renewTime"] > before["spec"]["renewTime"])
        assert [each.name for each in all_of_them if each.leads.is_set()] == [holder(before)]


async def test_who_cannot_renew_stops_before_it_is_taken_over(cluster: Cluster, server: ApiServer) -> None:
    async with standing(cluster, "cut-off") as leader:
        await within(leader.leads.wait())
        cluster.fault(code=503, method="PUT", path="/leases/", times=1_000_000)
        await within(leader.ended.wait())
        with pytest.raises(NotLeading):
            leader.leadership.check()
        assert holder(await server.get(LEASES, NAME)) == "cut-off"


async def test_a_renewal_that_conflicts_or_whose_answer_is_lost_is_no_loss(cluster: Cluster, server: ApiServer) -> None:
    async with standing(cluster, "leader", Timing(lease_s=3600, lead_s=1800, look_s=0.01)) as leader:
        await within(leader.leads.wait())
        # As when the first answer was lost: it stands on a version that is not there any more.
        await server.merge(LEASES, NAME, {"metadata": {"annotations": {"looked": "at"}}})
        seen = await server.get(LEASES, NAME)
        await until(server, lambda lease: lease["spec"]["renewTime"] > seen["spec"]["renewTime"])
        assert leader.leads.is_set()
        assert not leader.ended.is_set()


async def test_who_sees_another_name_in_it_ends_at_once(cluster: Cluster, server: ApiServer) -> None:
    async with standing(cluster, "leader", Timing(lease_s=3600, lead_s=1800, look_s=0.01)) as leader:
        await within(leader.leads.wait())
        await server.merge(LEASES, NAME, {"spec": {"holderIdentity": "usurper"}})
        await within(leader.ended.wait())
        assert not leader.leadership.is_leading
        assert holder(await server.get(LEASES, NAME)) == "usurper"


async def test_a_write_that_is_repeated_is_not_sent_once_the_lease_is_over(cluster: Cluster) -> None:
    now = [0.0]

    async def pass_time(seconds: float) -> None:
        now[0] += 5

    connection = connect_to(cluster.url, cluster.token)
    leadership = Leadership(ApiServer(connection), "leader", Timing(), clock=lambda: now[0])
    fenced = ApiServer(connection, may_write=leadership.check, sleep=pass_time)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    outcomes: asyncio.Queue[int] = asyncio.Queue()

    async def lead() -> None:
        await fenced.apply(secret)
        fault = cluster.fault(code=503, method="PATCH", times=10)
        with pytest.raises(NotLeading):
            await fenced.apply({**secret, "type": "Opaque"})
        assert await fenced.find(SECRETS, "s") is not None  # looking is free
        outcomes.put_nowait(fault.hits)

    task = asyncio.create_task(leadership.run(lead))
    async with asyncio.timeout(PATIENCE_S):
        assert await outcomes.get() == 2  # at 0 and 5 seconds; at 10 it is over
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await connection.http.aclose()


async def test_what_a_leader_fails_of_is_told_and_the_lease_given_back(cluster: Cluster, server: ApiServer) -> None:
    async def lead() -> None:
        raise RuntimeError("no Envoy")

    leadership = Leadership(server, "leader", QUICK)
    with pytest.raises(RuntimeError, match="no Envoy"):
        await leadership.run(lead)
    assert holder(await server.get(LEASES, NAME)) == ""


async def test_a_renewal_that_hangs_leaves_time_for_others(cluster: Cluster, server: ApiServer) -> None:
    async with standing(cluster, "leader", Timing(lease_s=3600, lead_s=4.5, look_s=0.05)) as leader:
        await within(leader.leads.wait())
        hanging = cluster.fault(delay_s=5, code=503, method="PUT", path="/leases/")
        async with asyncio.timeout(PATIENCE_S):
            while not hanging.hits:  # noqa: ASYNC110 (the cluster is what it looks at)
                await asyncio.sleep(0.01)
        seen = await server.get(LEASES, NAME)
        await until(server, lambda lease: lease["spec"]["renewTime"] > seen["spec"]["renewTime"])
        assert not leader.ended.is_set()
