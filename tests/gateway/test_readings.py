"""What Envoy's admin interface says of endpoints and route tables."""

from __future__ import annotations

from hatchway.gateway.readings import Host, Versions, hosts_from_json, hosts_to_json, read_hosts, read_versions

CLUSTERS = """\
ads::10.0.0.9:8488::rq_active::1
api:iris::observability_name::api:iris
api:iris::10.0.0.1:8080::rq_active::3
api:iris::10.0.0.1:8080::health_flags::healthy
api:iris::[fd00::1]:8080::rq_active::1
api:iris::[fd00::1]:8080::health_flags::/eds_status_draining
api:iris::./act.sock::rq_active::0
api:iris::./act.sock::health_flags::healthy
"""


def test_endpoints_are_read_with_what_is_in_flight_and_whether_they_are_left() -> None:
    assert read_hosts(CLUSTERS) == {
        "iris": {
            "10.0.0.1:8080": Host(3, is_leaving=False),
            "[fd00::1]:8080": Host(1, is_leaving=True),
            "./act.sock": Host(0, is_leaving=False),
        }
    }


def test_they_are_the_same_at_the_other_end() -> None:
    hosts = read_hosts(CLUSTERS)
    assert hosts_from_json(hosts_to_json(hosts)) == hosts


def test_versions_are_those_that_the_table_in_use_says() -> None:
    told = {"versions": {"iris": "abc"}, "refused": {"other": "bad"}}
    dump = {"configs": [{"route_config": {"metadata": {"filter_metadata": told}}}]}
    assert read_versions(dump) == Versions({"iris": "abc"}, {"other": "bad"})


def test_an_envoy_without_routes_has_no_versions() -> None:
    assert read_versions({}) == Versions()
