"""The delta ADS server: hands the newest resources to Envoys and hears what they think of them.

On one machine there is one Envoy, which comes over a unix socket; in a cluster many do, over TCP with mutual TLS.
Not files: Envoy takes an inotify instance for each watched path and aborts near 128 of them. What is sent when is
decided in `session.py`; here are only the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import ads_pb2_grpc

from hatchway.errors import GatewayError
from hatchway.gateway.bootstrap import HOST
from hatchway.gateway.envoy import ApiResources, Json, Resources, listener_at
from hatchway.gateway.session import Session, Table, Wanted
from hatchway.gateway.wire import Codec, Encoded, EncodedApi

_GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a reconnecting Envoy lists every version it has
    ("grpc.so_reuseport", 0),
)


MAX_STRANGERS = 32  # Envoys without a stream whose route tables are remembered, in case they come back


@dataclass
class _Envoy:
    """One of them, as its streams show it."""

    session: Session | None = None  # of the stream that is open
    table: Table | None = None  # what the former stream accepted last
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # the stream has something to look at
    host: str = ""  # where it listens; "": where the resources say
    wanted: tuple[Wanted, Wanted] | None = None  # what everybody gets, and what this one gets of it


class AdsServer:
    """Keeps Envoys up to date. One is known by the id of its node, and says in its metadata on which host it listens.

    `on_change(api)` is called when an API becomes settled or refused, or stops being so.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._codec = Codec()
        self._wanted: Wanted | None = None
        self._resources: Resources | None = None  # that `_wanted` was made of
        self._envoys: dict[str, _Envoy] = {}
        self._changed = asyncio.Event()  # replaced whenever it is set
        self._reported: dict[str, tuple[bool, str | None]] = {}

    # --- what others ask ---------------------------------------------------------------------------------
    @property
    def rejections(self) -> dict[str, str]:
        """API -> why an Envoy refused its newest version. The last good one stays in place."""
        found: dict[str, str] = {}
        for session, wanted in self._sessions():
            found = session.rejections(wanted) | found
        return found

    def rejection(self, api: str) -> str | None:
        """Why an Envoy refused the newest version of the API."""
        messages = (session.rejection(api, wanted) for session, wanted in self._sessions())
        return next((message for message in messages if message is not None), None)

    @property
    def listener_rejection(self) -> str | None:
        """Why an Envoy cannot open the gateway's port."""
        messages = (session.listener_rejection(wanted) for session, wanted in self._sessions())
        return next((message for message in messages if message is not None), None)

    @property
    def is_listening(self) -> bool:
        return self._do_all(lambda session, wanted: session.is_listening(wanted))

    def is_settled(self, api: str) -> bool:
        """Whether all Envoys have acknowledged the newest routes and endpoints of the API, or its removal."""
        return self._do_all(lambda session, wanted: session.is_settled(api, wanted))

    def version(self, api: str) -> str | None:
        """Of the newest entry of the API in the route table, as Envoys show it; None: it has none."""
        found = None if self._wanted is None else self._wanted.apis.get(api)
        return None if found is None else found.match.version

    def _do_all(self, has: Callable[[Session, Wanted], bool]) -> bool:
        """Whether there is any Envoy, and it is so with all of them."""
        found = [has(session, wanted) for session, wanted in self._sessions()]
        return bool(found) and all(found)

    def _sessions(self) -> Iterator[tuple[Session, Wanted]]:
        for envoy in self._envoys.values():
            if envoy.session is not None and self._wanted is not None:
                yield envoy.session, self._newest(envoy)

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
        for envoy in self._envoys.values():
            envoy.wake.set()

    def _encode(self, api: str, found: ApiResources) -> EncodedApi:
        """Documents that are the same object need not even be compared."""
        if self._wanted is not None and self._resources is not None and self._resources.apis.get(api) is found:
            return self._codec.keep(self._wanted.apis[api])
        return self._codec.api(found)

    async def serve(self, socket: Path) -> None:
        """Serve until cancelled. Call `publish` first: an empty first answer would remove everything."""
        _unlink(socket)
        await self._serve(lambda server: server.add_insecure_port(f"unix:{socket}"), str(socket))

    async def serve_tls(self, address: str, credentials: grpc.ServerCredentials) -> None:
        """Likewise, at HOST:PORT."""
        await self._serve(lambda server: server.add_secure_port(address, credentials), address)

    async def _serve(self, bind: Callable[[grpc.aio.Server], int], where: str) -> None:
        if self._wanted is None:
            raise RuntimeError("nothing was published")
        server = grpc.aio.server(options=_GRPC_OPTIONS)
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(_Servicer(self.stream), server)
        try:
            bind(server)
        except RuntimeError as exc:
            raise GatewayError(f"cannot serve the gateway's configuration on {where}: {exc}") from exc
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(grace=None)

    # --- streams -----------------------------------------------------------------------------------------
    async def stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """One stream of an Envoy. A newer one takes over: then it has given this one up, or is another process."""
        first = await anext(requests, None)
        if first is None:
            return
        envoy = self._meet(first.node)
        session = envoy.session = Session(envoy.table)
        session.receive(first)
        envoy.wake.set()  # the stream before this one ends
        wake = envoy.wake = asyncio.Event()
        reader = asyncio.create_task(_read(requests, session, wake), name="ads-requests")
        try:
            while not reader.done() and envoy.session is session:
                wake.clear()
                responses = session.step(self._newest(envoy))
                envoy.table = session.table
                self._report()  # before they are sent: Envoy may answer while they are, and "unsettled" go untold
                for response in responses:
                    yield response
                await wake.wait()
        finally:
            reader.cancel()
            if envoy.session is session:
                envoy.session = None
                self._report()

    def _meet(self, node: Any) -> _Envoy:
        """The Envoy of a stream that begins."""
        if node.id not in self._envoys:
            strangers = [name for name, envoy in self._envoys.items() if envoy.session is None]
            for name in strangers[: max(0, len(strangers) - MAX_STRANGERS + 1)]:
                del self._envoys[name]
        envoy = self._envoys.setdefault(node.id, _Envoy())
        envoy.host = node.metadata.fields[HOST].string_value if HOST in node.metadata.fields else ""
        return envoy

    def _newest(self, envoy: _Envoy) -> Wanted:
        assert self._wanted is not None  # serve() sees to it
        if not envoy.host:
            return self._wanted
        if envoy.wanted is None or envoy.wanted[0] is not self._wanted:
            envoy.wanted = self._wanted, replace(self._wanted, listener=self._listener_at(envoy.host))
        return envoy.wanted[1]

    def _listener_at(self, host: str) -> Encoded:
        assert self._resources is not None
        document: Json = listener_at(self._resources.listener, host)
        return self._codec.resource(str(document["name"]), document)

    def _report(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        rejections = self.rejections
        assert self._wanted is not None  # there is a stream
        apis = self._wanted.apis
        names = [*apis, *(name for name in self._reported if name not in apis)]
        for name in names:
            state = (self.is_settled(name), rejections.get(name))
            if self._reported.get(name) != state:
                self._reported[name] = state
                self._on_change(name)
        self._reported = {name: state for name, state in self._reported.items() if name in apis or not state[0]}


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
