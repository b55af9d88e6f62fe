"""The delta ADS server: hands the newest resources to Envoy over a unix socket and hears what it thinks of them.

Not files: Envoy takes an inotify instance for each watched path and aborts near 128 of them. What is sent when is
decided in `session.py`; here are only the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import ads_pb2_grpc

from hatchway.errors import GatewayError
from hatchway.gateway.envoy import ApiResources, Resources
from hatchway.gateway.session import Session, Table, Wanted
from hatchway.gateway.wire import Codec, EncodedApi

_GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a reconnecting Envoy lists every version it has
    ("grpc.so_reuseport", 0),
)


class AdsServer:
    """Keeps one Envoy up to date.

    `on_change(api)` is called when an API becomes settled or refused, or stops being so.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._codec = Codec()
        self._wanted: Wanted | None = None
        self._resources: Resources | None = None  # that `_wanted` was made of
        self._session: Session | None = None
        self._table: Table | None = None  # what the former stream accepted last
        self._wake = asyncio.Event()  # the stream has something to look at
        self._changed = asyncio.Event()  # replaced whenever it is set
        self._reported: dict[str, tuple[bool, str | None]] = {}

    # --- what others ask ---------------------------------------------------------------------------------
    @property
    def rejections(self) -> dict[str, str]:
        """API -> why Envoy refused its newest version. The last good one stays in place."""
        if self._session is None or self._wanted is None:
            return {}
        return self._session.rejections(self._wanted)

    def rejection(self, api: str) -> str | None:
        """Why Envoy refused the newest version of the API."""
        if self._session is None or self._wanted is None:
            return None
        return self._session.rejection(api, self._wanted)

    @property
    def listener_rejection(self) -> str | None:
        """Why Envoy cannot open the gateway's port."""
        if self._session is None or self._wanted is None:
            return None
        return self._session.listener_rejection(self._wanted)

    @property
    def is_listening(self) -> bool:
        return self._session is not None and self._wanted is not None and self._session.is_listening(self._wanted)

    def is_settled(self, api: str) -> bool:
        """Whether Envoy has acknowledged the newest routes and endpoints of the API, or its removal."""
        return self._session is not None and self._wanted is not None and self._session.is_settled(api, self._wanted)

    async def wait_change(self) -> None:
        """Return after the next message of Envoy, or the loss of its stream."""
        await self._changed.wait()

    # --- what others tell --------------------------------------------------------------------------------
    def publish(self, resources: Resources) -> None:
        """Make these the newest. Only what differs from the former ones is converted."""
        self._wanted = Wanted(
            listener=self._codec.resource(str(resources.listener["name"]), resources.listener),
            apis={name: self._encode(name, found) for name, found in resources.apis.items()},
        )
        self._resources = resources
        self._codec.forget_unused()
        self._wake.set()

    def _encode(self, api: str, found: ApiResources) -> EncodedApi:
        """Documents that are the same object need not even be compared."""
        if self._wanted is not None and self._resources is not None and self._resources.apis.get(api) is found:
            return self._codec.keep(self._wanted.apis[api])
        return self._codec.api(found)

    async def serve(self, socket: Path) -> None:
        """Serve until cancelled. Call `publish` first: an empty first answer would remove everything."""
        if self._wanted is None:
            raise RuntimeError("nothing was published")
        _unlink(socket)
        server = grpc.aio.server(options=_GRPC_OPTIONS)
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(_Servicer(self.stream), server)
        try:
            server.add_insecure_port(f"unix:{socket}")
        except RuntimeError as exc:
            raise GatewayError(f"cannot serve the gateway's configuration on {socket}: {exc}") from exc
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(grace=None)

    # --- streams -----------------------------------------------------------------------------------------
    async def stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """One stream of Envoy. A newer one takes over: then Envoy has given this one up, or is another process."""
        session = self._session = Session(self._table)
        self._wake.set()  # the stream before this one ends
        wake = self._wake = asyncio.Event()
        reader = asyncio.create_task(_read(requests, session, wake), name="ads-requests")
        try:
            while not reader.done() and self._session is session:
                wake.clear()
                responses = session.step(self._newest())
                self._table = session.table
                self._report()  # before they are sent: Envoy may answer while they are, and "unsettled" go untold
                for response in responses:
                    yield response
                await wake.wait()
        finally:
            reader.cancel()
            if self._session is session:
                self._session = None
                self._report()

    def _newest(self) -> Wanted:
        assert self._wanted is not None  # serve() sees to it
        return self._wanted

    def _report(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        rejections = self.rejections
        names = [*self._newest().apis, *(name for name in self._reported if name not in self._newest().apis)]
        for name in names:
            state = (self.is_settled(name), rejections.get(name))
            if self._reported.get(name) != state:
                self._reported[name] = state
                self._on_change(name)
        self._reported = {
            name: state for name, state in self._reported.items() if name in self._newest().apis or not state[0]
        }


class _Servicer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]  # generated, without types
    def __init__(self, stream: Callable[[AsyncIterator[Any]], AsyncIterator[Any]]) -> None:
        self._stream = stream

    async def DeltaAggregatedResources(  # noqa: N802  # the name in the protocol
        self, request_iterator: AsyncIterator[Any], context: object
    ) -> AsyncIterator[Any]:
        async for response in self._stream(request_iterator):
            yield response


def _unlink(socket: Path) -> None:
    """gRPC does not bind over what a killed engine left."""
    socket.unlink(missing_ok=True)


async def _read(requests: AsyncIterator[Any], session: Session, wake: asyncio.Event) -> None:
    try:
        async for request in requests:
            session.receive(request)
            wake.set()
    finally:
        wake.set()
