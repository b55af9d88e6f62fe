"""What Envoy says of its endpoints and routes, as the agent of a gateway tells it to the operator that leads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hatchway.gateway.envoy import CLUSTER_PREFIX
from hatchway.gateway.wire import REFUSED, VERSIONS

Json = dict[str, Any]

_TAKEN_OUT = "/eds_status_draining"


@dataclass(frozen=True)
class Host:
    """An endpoint as Envoy has it: requests in flight there, and whether it is listed only to be let go of."""

    active: int = 0
    is_leaving: bool = False


Hosts = Mapping[str, Mapping[str, Host]]  # API -> address -> that endpoint


@dataclass(frozen=True)
class Versions:
    """Of the route table in use: API -> the version of its entry, and API -> why Envoy has not its newest."""

    versions: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def read_hosts(clusters: str) -> dict[str, dict[str, Host]]:
    """From lines like `api:iris::10.0.0.1:8080::rq_active::3` and `api:iris::10.0.0.1:8080::health_flags::healthy`.

    Text, because JSON of a thousand APIs is megabytes more. Paths are sockets: on one machine all are, in a cluster
    the activator is.
    """
    found: dict[str, dict[str, Host]] = {}
    for line in clusters.splitlines():
        if not line.startswith(CLUSTER_PREFIX):
            continue
        cluster, _, rest = line.partition("::")
        address, _, fact = rest.rpartition("::")
        address, _, name = address.rpartition("::")  # an address may have colons too
        if name not in ("rq_active", "health_flags"):
            continue
        hosts = found.setdefault(cluster.removeprefix(CLUSTER_PREFIX), {})
        host = hosts.get(address, Host())
        if name == "rq_active":
            hosts[address] = Host(host.active + int(fact), host.is_leaving)
        else:
            hosts[address] = Host(host.active, _TAKEN_OUT in fact)
    return found


def read_versions(dump: Json) -> Versions:
    """From Envoy's dump of the metadata of its route tables; nothing before it has one."""
    for table in dump.get("configs", ()):
        told = table.get("route_config", {}).get("metadata", {}).get("filter_metadata", {})
        if VERSIONS in told:
            return Versions(dict(told[VERSIONS]), dict(told.get(REFUSED, {})))
    return Versions()


def hosts_to_json(hosts: Hosts) -> Json:
    return {
        api: {address: [host.active, host.is_leaving] for address, host in of_api.items()}
        for api, of_api in hosts.items()
    }


def hosts_from_json(data: Mapping[str, Mapping[str, Any]]) -> Hosts:
    """Raises ValueError, TypeError or AttributeError for what is not of that form."""
    return {
        api: {address: Host(int(active), bool(is_leaving)) for address, (active, is_leaving) in of_api.items()}
        for api, of_api in data.items()
    }
