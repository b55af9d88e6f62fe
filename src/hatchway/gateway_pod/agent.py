"""The agent beside an Envoy: what the operator that leads reads of it, whichever operator the Envoy listens to.

    /held       what the activator holds: a line of JSON now, after every change, and every few seconds
    /load       requests of each API under way, and in all
    /hosts      the endpoints Envoy has, with the requests in flight there
    /versions   the versions in Envoy's route table, and what it refused
    /journal    what Envoy noted of a request

While something is held it also tells the activator which replicas Envoy knows of: they may be ready before the cluster
has heard of it. None of that needs an operator.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hatchway.errors import GatewayError
from hatchway.gateway.activator.replicas import is_path
from hatchway.gateway.announcements import Announcements
from hatchway.gateway.demand import Demand, reports_at
from hatchway.gateway.journal import Journal
from hatchway.gateway.readings import hosts_to_json
from hatchway.gateway.stats import Admin
from hatchway.gateway_pod.files import ADMIN, HELD, JOURNAL, REPLICAS
from hatchway.kubernetes.names import CONTROL_PORT
from hatchway.metrics.collector import Page, write_requests

LOOK_S = 0.05  # between two looks for replicas while something is held
BEAT_S = 3.0  # what is held is told at least so often: silence means that nobody is there


class Agent:
    """Of the gateway whose containers share this folder."""

    def __init__(self, folder: Path) -> None:
        self._admin = Admin(folder / ADMIN)
        self._journal = Journal(folder / JOURNAL, self._admin.write_logs)
        self._announcements = Announcements(folder / REPLICAS, CONTROL_PORT)
        self._is_wanted = asyncio.Event()
        self._demand = Demand(reports_at(folder / HELD), lambda api: self._is_wanted.set())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._demand.follow(), name="follow what is held")
            group.create_task(self._announce(), name="announce replicas")
            group.create_task(self._journal.rotate_forever(), name="journal")

    async def _announce(self) -> None:
        while True:
            await self._is_wanted.wait()
            while waiting := self._demand.waiting():
                with suppress(GatewayError):
                    hosts = await self._admin.hosts()
                    known = {api: [each for each in hosts.get(api, ()) if not is_path(each)] for api in waiting}
                    self._announcements.announce(known)
                await asyncio.sleep(LOOK_S)
            # Addresses are given to other pods: what is not looked at is not kept.
            self._announcements.announce({})
            self._is_wanted.clear()

    # --- for operators -----------------------------------------------------------------------------------
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/held", self._held),
                Route("/load", _answer(self._load)),
                Route("/hosts", _answer(self._hosts)),
                Route("/versions", _answer(self._versions)),
                Route("/journal", self._find),
            ]
        )

    async def _held(self, request: Request) -> Response:
        return StreamingResponse(self._reports(), media_type="application/jsonl")

    async def _reports(self) -> AsyncIterator[str]:
        while True:
            yield json.dumps(self._demand.waiting()) + "\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._demand.wait_change()

    async def _load(self) -> object:
        return asdict(await self._admin.load())

    async def _hosts(self) -> object:
        return hosts_to_json(await self._admin.hosts())

    async def _versions(self) -> object:
        return asdict(await self._admin.versions())

    async def _find(self, request: Request) -> Response:
        return JSONResponse([asdict(entry) for entry in await self._journal.find(request.query_params.get("id", ""))])

    # --- for the kubelet and Prometheus ------------------------------------------------------------------
    def probes(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/alive", _say_alive),
                Route("/ready", self._say_ready),
                Route("/metrics", self._metrics),
            ]
        )

    async def _say_ready(self, request: Request) -> Response:
        """Envoy has its first full configuration, and has not begun to drain."""
        try:
            state = await self._admin.state()
        except GatewayError as exc:
            state = exc.message
        return PlainTextResponse(f"{state}\n", 200 if state == "LIVE" else 503)

    async def _metrics(self, request: Request) -> Response:
        """What this Envoy has counted since it started: Prometheus adds up gateways, and knows of restarts."""
        try:
            page = Page()
            write_requests(page, await self._admin.served())
        except GatewayError as exc:
            return PlainTextResponse(f"{exc.message}\n", 503)
        text = "".join(family.to_text() for family in page.families())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _say_alive(request: Request) -> Response:
    return PlainTextResponse("alive\n")


def _answer(ask: Callable[[], Awaitable[object]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await ask())
        except GatewayError as exc:
            return PlainTextResponse(f"{exc.message}\n", 503)

    return answer
