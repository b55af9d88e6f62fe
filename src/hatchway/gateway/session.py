"""One delta ADS stream as a state machine: requests in, responses out. No sockets, no tasks, no clock.

Order: clusters and their endpoints, then listener and routes once those are acknowledged, removals last. What
Envoy refuses is narrowed down by halves to the single API, whose last good version stays; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from hatchway.gateway.envoy import ROUTE_CONFIGURATION, cluster_name
from hatchway.gateway.wire import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Encoded,
    EncodedApi,
    EncodedMatch,
    encode_route_table,
    route_table_version,
)

_WILDCARD = "*"
_TOLD_CHARS = 500  # of Envoy's reason for a refusal


@dataclass(frozen=True)
class Wanted:
    """The newest state, encoded."""

    listener: Encoded
    apis: Mapping[str, EncodedApi]

    @cached_property
    def clusters(self) -> dict[str, Encoded]:
        return {api.cluster.name: api.cluster for api in self.apis.values()}

    @cached_property
    def assignments(self) -> dict[str, Encoded]:
        return {api.assignment.name: api.assignment for api in self.apis.values()}

    def resources(self, type_url: str) -> dict[str, Encoded]:
        """By name; of any type but routes."""
        if type_url == LISTENER:
            return {self.listener.name: self.listener}
        return self.clusters if type_url == CLUSTER else self.assignments


@dataclass(frozen=True)
class Table:
    """A route table Envoy accepted."""

    version: str
    matches: Mapping[str, EncodedMatch]


@dataclass(frozen=True)
class _Sent:
    """A response that waits for its ACK: the versions of its parts, by resource name (by API for routes)."""

    type_url: str
    parts: Mapping[str, str]
    removed: tuple[str, ...] = ()
    table: Table | None = None


@dataclass
class _Channel:
    """What the stream knows of one type of resources."""

    names: set[str] = field(default_factory=set)  # subscribed
    is_open: bool = False
    is_answered: bool = False
    accepted: dict[str, str] = field(default_factory=dict)  # versions Envoy has
    resend: set[str] = field(default_factory=set)  # to be sent though the version is accepted
    trials: list[tuple[str, ...]] = field(default_factory=list)  # halves of a refused response
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (version, message)
    waiting: _Sent | None = None
    nonce: str = ""

    def refuses(self, name: str, version: str) -> bool:
        return self.rejected.get(name, ("", ""))[0] == version


class Session:
    """`known_table` is the route table that a former stream accepted, if any."""

    def __init__(self, known_table: Table | None = None) -> None:
        self._channels = {url: _Channel() for url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES)}
        self._known_table = known_table
        self._n_responses = 0

    # --- what others ask ---------------------------------------------------------------------------------
    @property
    def table(self) -> Table | None:
        """The route table that Envoy has, if its content is known."""
        return self._known_table

    def is_settled(self, api: str, wanted: Wanted) -> bool:
        """Whether Envoy has the newest of all that concerns the API (or nothing more of a removed one)."""
        cluster = cluster_name(api)
        matches = self._known_table.matches if self._known_table else {}
        found = wanted.apis.get(api)
        if found is None:
            is_routed = self._known_table is None or api in matches
            return not is_routed and cluster not in self._channels[CLUSTER].accepted
        return (
            self.is_listening(wanted)
            and self._has(CLUSTER, found.cluster)
            and self._has(ENDPOINTS, found.assignment)
            and api in matches
            and matches[api].version == found.match.version
        )

    def is_listening(self, wanted: Wanted) -> bool:
        """A listener opens its port when it has its routes."""
        return self._has(LISTENER, wanted.listener) and ROUTE_CONFIGURATION in self._channels[ROUTES].accepted

    def listener_rejection(self, wanted: Wanted) -> str | None:
        version, message = self._channels[LISTENER].rejected.get(wanted.listener.name, ("", ""))
        return message if version == wanted.listener.version else None

    def rejections(self, wanted: Wanted) -> dict[str, str]:
        """API -> why Envoy refused the newest version of something of it."""
        return {name: message for name in wanted.apis if (message := self.rejection(name, wanted)) is not None}

    def rejection(self, api: str, wanted: Wanted) -> str | None:
        """Why Envoy refused the newest version of something of the API."""
        newest = wanted.apis.get(api)
        if newest is None:
            return None
        cluster = cluster_name(api)
        for type_url, name, version in (
            (ROUTES, api, newest.match.version),
            (ENDPOINTS, cluster, newest.assignment.version),
            (CLUSTER, cluster, newest.cluster.version),
        ):
            if self._channels[type_url].refuses(name, version):
                return self._channels[type_url].rejected[name][1]
        return None

    def _has(self, type_url: str, resource: Encoded) -> bool:
        channel = self._channels[type_url]
        return channel.accepted.get(resource.name) == resource.version and resource.name not in channel.resend

    # --- requests ----------------------------------------------------------------------------------------
    def receive(self, request: discovery_pb2.DeltaDiscoveryRequest) -> None:
        """Take in a subscription, an ACK or a NACK. Types we do not serve are ignored."""
        channel = self._channels.get(request.type_url)
        if channel is None:
            return
        if not channel.is_open:
            channel.is_open = True
            channel.accepted = dict(request.initial_resource_versions)
            channel.names.update(request.resource_names_subscribe or [_WILDCARD])
            self._recall_table(request.type_url)
        else:
            channel.names.update(request.resource_names_subscribe)
            channel.resend.update(request.resource_names_subscribe)
        for name in request.resource_names_unsubscribe:
            channel.names.discard(name)
            channel.resend.discard(name)
            channel.accepted.pop(name, None)
        if request.response_nonce and request.response_nonce == channel.nonce and channel.waiting:
            sent, channel.waiting = channel.waiting, None
            if request.HasField("error_detail"):
                self._refused(channel, sent, request.error_detail.message)
            else:
                self._accepted(channel, sent)

    def _recall_table(self, type_url: str) -> None:
        if type_url != ROUTES:
            return
        version = self._channels[ROUTES].accepted.get(ROUTE_CONFIGURATION)
        if version is None:
            self._known_table = Table("", {})  # a new Envoy has none
        elif self._known_table is None or self._known_table.version != version:
            self._known_table = None

    def _accepted(self, channel: _Channel, sent: _Sent) -> None:
        for name in sent.removed:
            channel.accepted.pop(name, None)
        if sent.table is not None:
            self._known_table = sent.table
            channel.accepted[ROUTE_CONFIGURATION] = sent.table.version
        else:
            channel.accepted.update({name: version for name, version in sent.parts.items() if self._wants(sent, name)})
        for name in sent.parts:
            channel.rejected.pop(name, None)

    def _wants(self, sent: _Sent, name: str) -> bool:
        """Endpoints may be unsubscribed between a response and its ACK."""
        return sent.type_url != ENDPOINTS or name in self._channels[ENDPOINTS].names

    def _refused(self, channel: _Channel, sent: _Sent, message: str) -> None:
        names = tuple(sent.parts)
        half = len(names) // 2
        # Without knowing the table Envoy has, a part of the new one would unroute the other APIs.
        if half and not (sent.type_url == ROUTES and self._known_table is None):
            channel.trials[:0] = [names[:half], names[half:]]
            return
        for name in names:
            channel.rejected[name] = (sent.parts[name], message)

    # --- responses ---------------------------------------------------------------------------------------
    def step(self, wanted: Wanted) -> list[discovery_pb2.DeltaDiscoveryResponse]:
        """What may be sent now. Call it after every request and every change of `wanted`."""
        responses = self._upsert(CLUSTER, wanted) + self._upsert(ENDPOINTS, wanted)
        if responses or not self._clusters_are_done(wanted):
            return responses
        responses = self._upsert(LISTENER, wanted) + self._send_routes(wanted)
        if responses or not self._routes_are_done(wanted):
            return responses
        return self._remove(CLUSTER, wanted) + self._remove(LISTENER, wanted)

    def _upsert(self, type_url: str, wanted: Wanted) -> list[discovery_pb2.DeltaDiscoveryResponse]:
        channel = self._channels[type_url]
        if not channel.is_open or channel.waiting:
            return []
        all_wanted = wanted.resources(type_url)
        names = self._due(channel, all_wanted)
        # Envoy asks for listeners only after its first answer about clusters, be there any or not.
        if not names and (type_url != CLUSTER or channel.is_answered):
            return []
        resources = [all_wanted[name] for name in names]
        channel.resend.difference_update(names)
        if type_url == CLUSTER:
            # A changed cluster warms until its endpoints come once more, for 15 s if they do not.
            known = self._channels[ENDPOINTS].names
            self._channels[ENDPOINTS].resend.update(name for name in names if name in known)
        return [self._send(_Sent(type_url, {each.name: each.version for each in resources}), resources)]

    def _due(self, channel: _Channel, wanted: Mapping[str, Encoded]) -> list[str]:
        while channel.trials:
            names = [name for name in channel.trials.pop(0) if name in wanted]
            if names:
                return names
        is_wildcard = _WILDCARD in channel.names
        return [
            name
            for name, resource in wanted.items()
            if (is_wildcard or name in channel.names)
            and not channel.refuses(name, resource.version)
            and (channel.accepted.get(name) != resource.version or name in channel.resend)
        ]

    def _clusters_are_done(self, wanted: Wanted) -> bool:
        """Nothing of clusters and endpoints is on its way, so that routes may name them."""
        clusters, endpoints = self._channels[CLUSTER], self._channels[ENDPOINTS]
        if not clusters.is_open or clusters.waiting or endpoints.waiting:
            return False
        return all(
            endpoints.accepted.get(name) is not None or endpoints.refuses(name, resource.version)
            for name, resource in wanted.resources(ENDPOINTS).items()
            if name in clusters.accepted
        )

    def _send_routes(self, wanted: Wanted) -> list[discovery_pb2.DeltaDiscoveryResponse]:
        channel = self._channels[ROUTES]
        if not channel.is_open or channel.waiting:
            return []
        matches = self._next_matches(wanted)
        refused = {api: message[:_TOLD_CHARS] for api, message in self.rejections(wanted).items()}
        version = route_table_version(matches.values(), refused)
        if channel.accepted.get(ROUTE_CONFIGURATION) == version:
            self._known_table = Table(version, matches)
            if ROUTE_CONFIGURATION not in channel.resend:
                return []
        known = self._known_table.matches if self._known_table else {}
        changed = {api: match.version for api, match in matches.items() if known.get(api) != match}
        if self._known_table is None and all(channel.refuses(*each) for each in changed.items()) and changed:
            return []  # refused as a whole: Envoy keeps what it has until something changes
        channel.resend.discard(ROUTE_CONFIGURATION)
        table = Table(version, matches)
        return [self._send(_Sent(ROUTES, changed, table=table), [encode_route_table(matches, refused)])]

    def _next_matches(self, wanted: Wanted) -> dict[str, EncodedMatch]:
        """The table to send: the wanted one, with the last good entry of each API whose newest was refused."""
        channel = self._channels[ROUTES]
        newest = self._routable(wanted)
        if self._known_table is None:
            return newest
        good = self._known_table.matches
        while channel.trials:
            tried = [api for api in channel.trials.pop(0) if api in newest]
            if tried:
                return {**good, **{api: newest[api] for api in tried}}
        refused = {api for api, match in newest.items() if channel.refuses(api, match.version)}
        kept = {api: good[api] for api in refused if api in good}
        return {**{api: match for api, match in newest.items() if api not in refused}, **kept}

    def _routable(self, wanted: Wanted) -> dict[str, EncodedMatch]:
        """APIs whose cluster Envoy has: a route to an unknown one would be refused, or lose requests."""
        accepted = self._channels[CLUSTER].accepted
        return {name: api.match for name, api in wanted.apis.items() if cluster_name(name) in accepted}

    def _routes_are_done(self, wanted: Wanted) -> bool:
        channel = self._channels[ROUTES]
        return channel.is_open and not channel.waiting and self._known_table is not None

    def _remove(self, type_url: str, wanted: Wanted) -> list[discovery_pb2.DeltaDiscoveryResponse]:
        channel = self._channels[type_url]
        routed = {cluster_name(api) for api in self._known_table.matches} if self._known_table else set()
        keep = wanted.resources(type_url).keys() | routed
        gone = tuple(name for name in channel.accepted if name not in keep)
        if type_url == LISTENER and not self.is_listening(wanted):
            gone = ()  # the old port stays until the new one listens
        if not gone or channel.waiting:
            return []
        return [self._send(_Sent(type_url, {}, removed=gone), [])]

    def _send(self, sent: _Sent, resources: Iterable[Encoded]) -> discovery_pb2.DeltaDiscoveryResponse:
        self._n_responses += 1
        channel = self._channels[sent.type_url]
        channel.waiting, channel.nonce, channel.is_answered = sent, str(self._n_responses), True
        found: list[Any] = [
            discovery_pb2.Resource(name=each.name, version=each.version, resource=each.resource) for each in resources
        ]
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=sent.type_url, nonce=channel.nonce, resources=found, removed_resources=sent.removed
        )
