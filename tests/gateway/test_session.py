"""The order of what Envoy is told, and what follows from its refusals. Envoy is played: the real one is in test_ads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from hatchway.gateway.envoy import make_resources
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.session import Session, Table, Wanted
from hatchway.gateway.wire import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Codec

SHORT = {CLUSTER: "clusters", ENDPOINTS: "endpoints", LISTENER: "listener", ROUTES: "routes"}


def wanted(*routes: Route, port: int = 1) -> Wanted:
    codec = Codec()
    resources = make_resources(RouteTable(routes), host="127.0.0.1", port=port, activator="/run/act")
    return Wanted(
        codec.resource(str(resources.listener["name"]), resources.listener),
        {name: codec.api(api) for name, api in resources.apis.items()},
    )


def a(name: str, *addresses: str, endpoint: str | None = None) -> Route:
    return Route(name, endpoint or f"/{name}", tuple(Endpoint(address) for address in addresses))


class Hears(Protocol):
    """Who is told what Envoy says: a session, or somebody on the way to one."""

    def receive(self, request: discovery_pb2.DeltaDiscoveryRequest) -> None: ...


class PlayedEnvoy:
    """Asks and acknowledges in the order of the real one. `refuses(type, name)` gives the reason of a NACK or None."""

    def __init__(
        self,
        session: Hears,
        has: dict[str, dict[str, str]] | None = None,
        refuses: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.session = session
        self.has = has or {}
        self.refuses = refuses or (lambda type_url, name: False)
        self.log: list[tuple[str, ...]] = []
        self._open: set[str] = set()

    def converge(self, state: Wanted) -> list[tuple[str, ...]]:
        """Exchange messages until both are silent. Returns what was sent: type, names, and "-name" for removals."""
        assert isinstance(self.session, Session)
        self.log = []
        if not self._open:
            self.ask(CLUSTER)
            for type_url in (ENDPOINTS, LISTENER, ROUTES):
                if type_url in self.has:
                    self.ask(type_url, *(self.has[type_url] if type_url in (ENDPOINTS, ROUTES) else ()))
        while responses := self.session.step(state):
            for response in responses:
                self.take(response)
        return self.log

    def ask(self, type_url: str, *names: str) -> None:
        versions = {} if type_url in self._open else self.has.get(type_url, {})
        self._open.add(type_url)
        self.session.receive(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url, resource_names_subscribe=names, initial_resource_versions=versions
            )
        )

    def take(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        kind = response.type_url
        names = [resource.name for resource in response.resources]
        self.log.append((SHORT[kind], *names, *(f"-{name}" for name in response.removed_resources)))
        if refused := [name for name in names if self.refuses(kind, name)]:
            self._answer(response, f"bad: {', '.join(refused)}")
            return
        known = self.has.setdefault(kind, {})
        new = [name for name in names if name not in known]
        known.update({resource.name: resource.version for resource in response.resources})
        for name in response.removed_resources:
            del known[name]
        self._answer(response)
        self._follow_up(kind, new, list(response.removed_resources))

    def _answer(self, response: discovery_pb2.DeltaDiscoveryResponse, refusal: str = "") -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if refusal:
            request.error_detail.message = refusal
        self.session.receive(request)

    def _follow_up(self, kind: str, new: list[str], removed: list[str]) -> None:
        if kind == CLUSTER and new:
            self.ask(ENDPOINTS, *new)
        if kind == CLUSTER and removed:
            self.session.receive(
                discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINTS, resource_names_unsubscribe=removed)
            )
            for name in removed:
                self.has[ENDPOINTS].pop(name, None)
        if kind in (CLUSTER, ENDPOINTS) and LISTENER not in self._open and self._is_warm():
            self.ask(LISTENER)
        if kind == LISTENER and ROUTES not in self._open:
            self.ask(ROUTES, "apis")

    def _is_warm(self) -> bool:
        return self.has.get(CLUSTER, {}).keys() <= self.has.get(ENDPOINTS, {}).keys()


# --- order ---------------------------------------------------------------------------------------------------
def test_a_new_envoy_gets_clusters_endpoints_listener_and_routes_in_this_order() -> None:
    session, state = Session(), wanted(a("iris", "/run/a"))
    assert PlayedEnvoy(session).converge(state) == [
        ("clusters", "api:iris"),
        ("endpoints", "api:iris"),
        ("listener", "http:127.0.0.1:1"),
        ("routes", "apis"),
    ]
    assert session.is_settled("iris", state)
    assert session.is_listening(state)


def test_a_new_envoy_gets_an_empty_answer_when_there_is_nothing() -> None:
    session, state = Session(), wanted()
    assert PlayedEnvoy(session).converge(state) == [("clusters",), ("listener", "http:127.0.0.1:1"), ("routes", "apis")]


def test_an_api_more_comes_before_its_route() -> None:
    envoy = PlayedEnvoy(Session())
    envoy.converge(wanted(a("iris")))
    assert envoy.converge(wanted(a("iris"), a("new"))) == [
        ("clusters", "api:new"),
        ("endpoints", "api:new"),
        ("routes", "apis"),
    ]


def test_an_api_less_loses_its_route_before_its_cluster() -> None:
    session = Session()
    envoy = PlayedEnvoy(session)
    envoy.converge(wanted(a("iris"), a("old")))
    state = wanted(a("iris"))
    assert not session.is_settled("old", state)
    assert envoy.converge(state) == [("routes", "apis"), ("clusters", "-api:old")]
    assert session.is_settled("old", state)


def test_endpoints_alone_change_nothing_else() -> None:
    session = Session()
    envoy = PlayedEnvoy(session)
    envoy.converge(wanted(a("iris", "/run/a"), a("other")))
    state = wanted(a("iris", "/run/b"), a("other"))
    assert not session.is_settled("iris", state)
    assert session.is_settled("other", state)
    assert envoy.converge(state) == [("endpoints", "api:iris")]
    assert session.is_settled("iris", state)


def test_a_setting_alone_changes_only_the_routes() -> None:
    envoy = PlayedEnvoy(Session())
    envoy.converge(wanted(a("iris")))
    assert envoy.converge(wanted(a("iris", endpoint="/flowers"))) == [("routes", "apis")]


def test_a_changed_cluster_gets_its_endpoints_again() -> None:
    envoy = PlayedEnvoy(Session())
    before = wanted(a("iris"), a("other"))
    envoy.converge(before)
    api = before.apis["iris"]
    changed = replace(api, cluster=replace(api.cluster, version="new"))
    assert envoy.converge(replace(before, apis={**before.apis, "iris": changed})) == [
        ("clusters", "api:iris"),
        ("endpoints", "api:iris"),
    ]


def test_the_old_port_goes_when_the_new_one_is_open() -> None:
    envoy = PlayedEnvoy(Session())
    envoy.converge(wanted(a("iris"), port=1))
    assert envoy.converge(wanted(a("iris"), port=2)) == [
        ("listener", "http:127.0.0.1:2"),
        ("listener", "-http:127.0.0.1:1"),
    ]


# --- reconnecting --------------------------------------------------------------------------------------------
def test_after_a_restart_of_the_engine_the_same_state_moves_nothing() -> None:
    state = wanted(a("iris", "/run/a"), a("other"))
    envoy = PlayedEnvoy(Session())
    envoy.converge(state)
    session = Session()
    log = PlayedEnvoy(session, has=envoy.has).converge(wanted(a("iris", "/run/a"), a("other")))
    assert [names for _, *names in log if names] == []
    assert session.is_settled("iris", state)


def test_what_was_removed_while_there_was_no_engine_is_removed_on_reconnect() -> None:
    envoy = PlayedEnvoy(Session())
    envoy.converge(wanted(a("iris"), a("old")))
    log = PlayedEnvoy(Session(), has=envoy.has).converge(wanted(a("iris")))
    assert [entry for entry in log if entry[1:]] == [("routes", "apis"), ("clusters", "-api:old")]


# --- refusals ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n_apis", [1, 2, 7])
def test_a_refused_cluster_is_found_and_the_others_are_served(n_apis: int) -> None:
    session = Session()
    state = wanted(*(a(f"api{number}") for number in range(n_apis)), a("bad"))
    PlayedEnvoy(session, refuses=lambda kind, name: kind == CLUSTER and name == "api:bad").converge(state)
    assert session.rejections(state) == {"bad": "bad: api:bad"}
    assert all(session.is_settled(f"api{number}", state) for number in range(n_apis))
    assert not session.is_settled("bad", state)


def test_refused_endpoints_leave_the_last_good_ones() -> None:
    session = Session()
    envoy = PlayedEnvoy(session)
    envoy.converge(wanted(a("iris", "/run/a")))
    version = envoy.has[ENDPOINTS]["api:iris"]
    envoy.refuses = lambda kind, name: kind == ENDPOINTS
    state = wanted(a("iris", "/run/bad"))
    envoy.converge(state)
    assert session.rejections(state) == {"iris": "bad: api:iris"}
    assert envoy.has[ENDPOINTS]["api:iris"] == version


def test_a_newer_version_of_what_was_refused_is_tried() -> None:
    session = Session()
    envoy = PlayedEnvoy(session)
    envoy.converge(wanted(a("iris", "/run/a")))
    envoy.refuses = lambda kind, name: kind == ENDPOINTS
    envoy.converge(wanted(a("iris", "/run/bad")))
    envoy.refuses = lambda kind, name: False
    state = wanted(a("iris", "/run/good"))
    assert session.rejections(state) == {}
    # The route table says of which APIs Envoy has not the newest: of none any more.
    assert envoy.converge(state) == [("endpoints", "api:iris"), ("routes", "apis")]
    assert session.is_settled("iris", state)


def test_a_refused_table_of_unknown_content_is_left_alone() -> None:
    """Parts of the new one would take away routes that the former engine made."""
    envoy = PlayedEnvoy(Session())
    envoy.converge(wanted(a("iris"), a("other")))
    session = Session(Table("another version", {}))
    state = wanted(a("iris", endpoint="/flowers"), a("other"))
    log = PlayedEnvoy(session, has=envoy.has, refuses=lambda kind, name: kind == ROUTES).converge(state)
    assert [entry for entry in log if entry[1:]] == [("routes", "apis")]
    assert session.rejections(state).keys() == {"iris", "other"}


def test_an_unknown_type_is_ignored() -> None:
    session = Session()
    session.receive(discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/other"))
    assert session.step(wanted()) == []


def test_a_late_answer_to_an_older_response_counts_for_nothing() -> None:
    session, state = Session(), wanted(a("iris"))
    session.receive(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER))
    session.step(state)
    session.receive(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="older"))
    assert session.step(state) == []
