from hatchway.gateway.envoy import make_resources
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.wire import Codec, EncodedApi, encode_route_table, route_table_version

TABLE = RouteTable((Route("iris", "/iris", (Endpoint("/run/a"),)), Route("other", "/other")))


def encode(codec: Codec, table: RouteTable = TABLE) -> dict[str, EncodedApi]:
    resources = make_resources(table, host="127.0.0.1", port=8484, activator="/run/act")
    return {name: codec.api(api) for name, api in resources.apis.items()}


def test_the_same_state_has_the_same_versions_and_bytes_in_every_engine() -> None:
    first, second = encode(Codec()), encode(Codec(), RouteTable(TABLE.routes[::-1]))
    for name, api in first.items():
        assert api.cluster == second[name].cluster
        assert api.assignment == second[name].assignment
    tables = [encode_route_table({name: api.match for name, api in each.items()}) for each in (first, second)]
    assert tables[0] == tables[1]


def test_a_change_of_endpoints_changes_only_their_version() -> None:
    one = encode(Codec())["iris"]
    two = encode(Codec(), RouteTable((Route("iris", "/iris", (Endpoint("/run/b"),)),)))["iris"]
    assert one.assignment.version != two.assignment.version
    assert (one.cluster, one.match) == (two.cluster, two.match)


def test_what_did_not_change_is_not_converted_again() -> None:
    codec = Codec()
    first = encode(codec)
    codec.forget_unused()
    second = encode(codec)
    assert all(first[name].cluster.resource is second[name].cluster.resource for name in first)
    assert all(first[name].match.match is second[name].match.match for name in first)


def test_what_is_not_used_any_more_is_forgotten() -> None:
    codec = Codec()
    first = encode(codec)
    codec.forget_unused()
    codec.forget_unused()
    assert first["iris"].cluster.resource is not encode(codec)["iris"].cluster.resource


def test_the_version_of_a_route_table_tells_endpoints_apart() -> None:
    match = encode(Codec())["iris"].match
    assert route_table_version([match]) != route_table_version([])
    assert route_table_version([match]) == encode_route_table({"iris": match}).version
