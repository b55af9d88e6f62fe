"""What Envoy counts, read from its admin socket: requests in flight at each endpoint, those of each API, answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.errors import GatewayError
from hatchway.gateway.envoy import CLUSTER_PREFIX
from hatchway.gateway.readings import Hosts, Versions, read_hosts, read_versions
from hatchway.gateway.served import FILTER, Tally, read_served

_TIMEOUT_S = 5.0
# Envoy writes the cluster's name into a statistic with "_" for ":".
_STAT_PREFIX = "cluster." + CLUSTER_PREFIX.replace(":", "_")
_COMPLETED = "http.gateway.downstream_rq_completed"
_LOADS = re.compile(re.escape(_STAT_PREFIX) + r"([^.\s]+)\.upstream_rq_(active|total): (\d+)")


@dataclass(frozen=True)
class Requests:
    """Those of one API: with a replica or held by the activator now, and all there were since Envoy started."""

    in_flight: int = 0
    total: int = 0


@dataclass(frozen=True)
class Load:
    """All requests at one moment."""

    by_api: Mapping[str, Requests] = field(default_factory=dict)  # one that never had any may be missing
    completed: int = 0  # requests that are over since Envoy started, whoever answered them


class Admin:
    """Envoy's admin interface. Every call raises GatewayError when Envoy does not answer."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def state(self) -> str:
        """ "PRE_INITIALIZING", "INITIALIZING", "LIVE" or "DRAINING"."""
        return str(json.loads(await self._get("/server_info"))["state"])

    async def drain(self) -> None:
        """Take no new connection; requests in flight go on."""
        await self._call("POST", "/drain_listeners")

    async def write_logs(self) -> None:
        """What is buffered for access logs goes to their files now."""
        await self._call("POST", "/reopen_logs")

    async def downstream_in_flight(self) -> int:
        """Requests of clients that are not answered yet."""
        text = await self._get("/stats?filter=^http.gateway.downstream_rq_active$")
        return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if line)

    async def fail_health_check(self) -> None:
        """Not ready any more; connections are served and closed after their next answer, new ones are still taken."""
        await self._call("POST", "/healthcheck/fail")

    async def in_flight(self) -> dict[str, int]:
        """Address -> requests in flight there, draining endpoints included."""
        totals: dict[str, int] = {}
        for of_api in (await self.hosts()).values():
            for address, host in of_api.items():
                totals[address] = totals.get(address, 0) + host.active
        return totals

    async def hosts(self) -> Hosts:
        """The endpoints of all APIs, the activator's among them."""
        return read_hosts(await self._get("/clusters"))

    async def versions(self) -> Versions:
        """Of the routes in use."""
        found = await self._get("/config_dump?resource=dynamic_route_configs&mask=route_config.metadata")
        return read_versions(json.loads(found))

    async def served(self) -> dict[str, Tally]:
        """API -> its requests that are over, since Envoy started; "" for those of no API."""
        return read_served(await self._get(f"/stats?usedonly&histogram_buckets=cumulative&filter={FILTER}"))

    async def load(self) -> Load:
        """What is under way. Cheap enough for every second."""
        text = await self._get(
            f"/stats?usedonly&filter=^({re.escape(_STAT_PREFIX)}[^.]*.upstream_rq_(active|total)|{_COMPLETED})$"
        )
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for name, what, count in _LOADS.findall(text):
            found[name][what] = int(count)
        by_api = {name: Requests(counts.get("active", 0), counts.get("total", 0)) for name, counts in found.items()}
        completed = text.partition(f"{_COMPLETED}: ")[2].partition("\n")[0]
        return Load(by_api, int(completed or 0))

    async def _get(self, path: str) -> str:
        return await self._call("GET", path)

    async def _call(self, method: str, path: str) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._exchange(method, path)
        except (OSError, EOFError, ValueError) as exc:  # TimeoutError is an OSError
            raise GatewayError(
                f"Envoy does not answer {path} on {self._socket}: {str(exc) or type(exc).__name__}"
            ) from exc

    async def _exchange(self, method: str, path: str) -> str:
        """One request, one connection. An HTTP client would cost more than the answer: this is asked while draining."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status_line, *headers = head.lower().split(b"\r\n")
        if status_line.split(b" ")[1:2] != [b"200"]:
            raise ValueError(status_line.decode(errors="replace") or "closed without an answer")
        return (_unchunk(body) if b"transfer-encoding: chunked" in headers else body).decode()


def _unchunk(body: bytes) -> bytes:
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
