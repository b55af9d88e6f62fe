"""Dictionaries in Envoy's JSON form as protobuf, with a version that is a hash of the content.

Converting is slow (a thousand APIs take a second), so what was converted before is remembered by content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.config.trace.v3 import opentelemetry_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.tracers.opentelemetry.samplers.v3 import (
    always_on_sampler_pb2,
    parent_based_sampler_pb2,
    trace_id_ratio_based_sampler_pb2,
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf import any_pb2, json_format
from xds.type.matcher.v3 import matcher_pb2

from hatchway.gateway.envoy import ApiResources, Json, assemble_route_configuration

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

NOTHING_REFUSED: Mapping[str, str] = {}

# Named nowhere but inside an Any: importing them is what makes them known to protobuf.
KNOWN_INSIDE_ANY = (
    cluster_pb2,
    endpoint_pb2,
    file_pb2,
    listener_pb2,
    stats_pb2,
    cors_pb2,
    router_pb2,
    http_connection_manager_pb2,
    least_request_pb2,
    previous_hosts_pb2,
    http_protocol_options_pb2,
    http_inputs_pb2,
    opentelemetry_pb2,
    uuid_pb2,
    always_on_sampler_pb2,
    parent_based_sampler_pb2,
    trace_id_ratio_based_sampler_pb2,
)


@dataclass(frozen=True)
class Encoded:
    """One resource as Envoy gets it."""

    name: str
    version: str
    resource: any_pb2.Any


@dataclass(frozen=True)
class EncodedMatch:
    """One API's entry of the route table."""

    endpoint: str
    version: str
    match: matcher_pb2.Matcher.OnMatch


@dataclass(frozen=True)
class EncodedApi:
    cluster: Encoded
    assignment: Encoded
    match: EncodedMatch


class Codec:
    """Converts, and keeps what it converted as long as the newest table needs it."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._used: dict[str, Any] = {}

    def forget_unused(self) -> None:
        """Drop what was not asked for since the last call."""
        self._kept, self._used = self._used, {}

    def api(self, resources: ApiResources) -> EncodedApi:
        """Raises json_format.ParseError for a document that is not what its `@type` says."""
        cluster, assignment = resources.cluster, resources.assignment
        return EncodedApi(
            cluster=self.resource(str(cluster["name"]), cluster),
            assignment=self.resource(str(assignment["cluster_name"]), assignment),
            match=self._match(resources.endpoint, resources.match),
        )

    def keep(self, encoded: EncodedApi) -> EncodedApi:
        """Used once more, unchanged."""
        for resource in (encoded.cluster, encoded.assignment):
            self._used[resource.version] = resource.resource
        self._used[encoded.match.version] = encoded.match.match
        return encoded

    def resource(self, name: str, document: Json) -> Encoded:
        version = _version(document)
        message = self._kept.get(version)
        if message is None:
            message = json_format.ParseDict(document, any_pb2.Any())
        self._used[version] = message
        return Encoded(name, version, message)

    def _match(self, endpoint: str, document: Json) -> EncodedMatch:
        version = _version(document)
        message = self._kept.get(version)
        if message is None:
            message = json_format.ParseDict(document, matcher_pb2.Matcher.OnMatch())
        self._used[version] = message
        return EncodedMatch(endpoint, version, message)


VERSIONS, REFUSED = "versions", "refused"  # what a route table says of itself, in its metadata


def route_table_version(matches: Iterable[EncodedMatch], refused: Mapping[str, str] = NOTHING_REFUSED) -> str:
    """The version of the route table of these entries, without building it."""
    content: Json = {
        "frame": assemble_route_configuration({}),
        "matches": sorted([each.endpoint, each.version] for each in matches),
    }
    return _version({**content, REFUSED: dict(refused)} if refused else content)


def encode_route_table(matches: Mapping[str, EncodedMatch], refused: Mapping[str, str] = NOTHING_REFUSED) -> Encoded:
    """The route table of these entries, by API; `refused` says of which APIs Envoy has not the newest, and why.

    Which versions are in it can be read from Envoy: by whoever has to know and does not serve it.
    """
    frame = assemble_route_configuration({each.endpoint: {} for each in matches.values()})
    message = route_pb2.RouteConfiguration()
    json_format.ParseDict({key: value for key, value in frame.items() if key != "@type"}, message)
    for each in matches.values():
        by_prefix = message.virtual_hosts[0].matcher.matcher_tree.prefix_match_map.map
        by_prefix[each.endpoint].CopyFrom(each.match)
    told = message.metadata.filter_metadata
    told[VERSIONS].update({api: each.version for api, each in matches.items()})
    told[REFUSED].update(refused)
    packed = any_pb2.Any(type_url=ROUTES, value=message.SerializeToString(deterministic=True))
    return Encoded(message.name, route_table_version(matches.values(), refused), packed)


def _version(document: Json) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
