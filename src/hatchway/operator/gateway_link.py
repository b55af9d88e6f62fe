"""The leader's way to one gateway: questions to the agent in its pod, and what its activator holds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from hatchway.errors import GatewayError
from hatchway.gateway.demand import Demand
from hatchway.gateway.journal import Entry
from hatchway.gateway.readings import Hosts, Versions, hosts_from_json
from hatchway.gateway.stats import Load, Requests
from hatchway.kubernetes.names import AGENT_PORT
from hatchway.kubernetes.tls import GATEWAY_NAME

TIMEOUT_S = 2.0
SILENCE_S = 10.0  # the agent says something more often than that

_BY_ITS_NAME = {"sni_hostname": GATEWAY_NAME}  # the certificate is for the name; addresses of pods come and go


class GatewayLink:
    """To the gateway at this address of a pod. Questions raise GatewayError when nobody answers.

    `on_wanted(api)` is called when requests begin to wait there.
    """

    def __init__(self, host: str, context: ssl.SSLContext, on_wanted: Callable[[str], None]) -> None:
        self.host = host
        at = f"[{host}]" if ":" in host else host
        self._http = httpx.AsyncClient(
            base_url=f"https://{at}:{AGENT_PORT}", verify=context, timeout=TIMEOUT_S, trust_env=False
        )
        self._demand = Demand(self._reports, on_wanted)
        self.waiting = self._demand.waiting

    async def follow(self) -> None:
        """Hear what is held, until cancelled."""
        try:
            await self._demand.follow()
        finally:
            await self._http.aclose()

    @asynccontextmanager
    async def _reports(self) -> AsyncIterator[AsyncIterator[str]]:
        try:
            timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
            async with self._http.stream("GET", "/held", extensions=_BY_ITS_NAME, timeout=timeout) as answer:
                answer.raise_for_status()
                yield answer.aiter_lines()
        except httpx.HTTPError as exc:
            raise ConnectionError(str(exc)) from exc

    async def load(self) -> Load:
        data = await self._ask("/load")
        return Load({api: Requests(**each) for api, each in data["by_api"].items()}, data["completed"])

    async def hosts(self) -> Hosts:
        return hosts_from_json(await self._ask("/hosts"))

    async def versions(self) -> Versions:
        return Versions(**await self._ask("/versions"))

    async def find_request(self, request_id: str) -> list[Entry]:
        found = await self._ask("/journal", id=request_id)
        return [Entry(**{**each, "flags": tuple(each["flags"])}) for each in found]

    async def _ask(self, path: str, **params: str) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._http.get(path, params=params, extensions=_BY_ITS_NAME)
                answer.raise_for_status()
                return answer.json()
        except (httpx.HTTPError, TimeoutError, ValueError) as exc:
            raise GatewayError(f"the gateway at {self.host} does not answer {path}: {exc!r}") from exc
