"""Whether the gateways of a cluster do what is wanted, and what all of them have under way together. Pure.

Each gateway is judged by what its own Envoy says: no matter which operator told it what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hatchway.gateway.readings import Hosts, Versions
from hatchway.gateway.routes import Endpoint
from hatchway.gateway.stats import Load, Requests


@dataclass(frozen=True)
class Expected:
    """What a gateway should have of an API: this entry of the route table, and these endpoints."""

    version: str
    endpoints: tuple[Endpoint, ...]


def has_taken(api: str, expected: Expected | None, hosts: Hosts, versions: Versions) -> bool:
    """Whether a gateway has the newest of the API; `expected` None: it has been removed, and so it should be there."""
    there = hosts.get(api, {})
    if expected is None:
        return api not in versions.versions
    if versions.versions.get(api) != expected.version:
        return False
    taking = {address for address, host in there.items() if "/" not in address and not host.is_leaving}
    return taking == {each.address for each in expected.endpoints if not each.is_draining}


def open_requests(known: Iterable[str], readings: Sequence[Hosts | None]) -> dict[str, int]:
    """Address -> requests that are, or may still come to be, in flight there through any of the gateways.

    A gateway that still sends requests to an address counts as one more: only at 0 have all let go of it. Of one that
    does not answer (None) nothing is known, so it counts as one at each of the `known` addresses.
    """
    found: dict[str, int] = {}
    for hosts in readings:
        if hosts is None:
            for address in known:
                found[address] = found.get(address, 0) + 1
            continue
        for of_api in hosts.values():
            for address, host in of_api.items():
                found[address] = found.get(address, 0) + host.active + (0 if host.is_leaving else 1)
    return found


class Sums:
    """The requests of all gateways. Totals never fall, though gateways come, go and begin to count anew."""

    def __init__(self) -> None:
        self._last: dict[str, Mapping[str, Requests]] = {}  # gateway -> API -> as last heard
        self._gone: dict[str, int] = {}  # API -> requests counted by Envoys that are no more

    def learn(self, gateway: str, load: Load) -> None:
        """What one of them says now. Less than before: its Envoy is another one."""
        for api, before in self._last.get(gateway, {}).items():
            if load.by_api.get(api, Requests()).total < before.total:
                self._gone[api] = self._gone.get(api, 0) + before.total
        self._last[gateway] = load.by_api

    def silence(self, gateway: str) -> None:
        """Nobody has heard of it for long: what was in flight there is over, one way or the other."""
        last = self._last.get(gateway, {})
        self._last[gateway] = {api: Requests(0, each.total) for api, each in last.items()}

    def forget(self, gateway: str) -> None:
        """It is gone; nothing is in flight there any more."""
        for api, before in self._last.pop(gateway, {}).items():
            self._gone[api] = self._gone.get(api, 0) + before.total

    def by_api(self) -> dict[str, Requests]:
        found = {api: Requests(0, total) for api, total in self._gone.items()}
        for of_gateway in self._last.values():
            for api, requests in of_gateway.items():
                sofar = found.get(api, Requests())
                found[api] = Requests(sofar.in_flight + requests.in_flight, sofar.total + requests.total)
        return found
