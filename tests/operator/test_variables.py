"""Values of `${VAR}` references in Secrets of a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from hatchway.errors import InvalidSpec, NotFound
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.operator.variables import SecretVariables, make_variables_secret, variables_key
from hatchway.spec.revision import Source
from hatchway.store.sqlite import RevisionRecord
from tests.backends.builders import this_interpreter
from tests.kubernetes.double import Cluster, a_cluster
from tests.kubernetes.published import validate

OWNER = {"apiVersion": "hatchway.dev/v1alpha1", "kind": "RealtimeAPI", "metadata": {"name": "iris", "uid": "u-1"}}
KEY = variables_key("token")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[ApiServer]:
    server = ApiServer(connect_to(cluster.url, cluster.token))
    yield server
    await server.close()


def a_revision(id: str, secret: str | None) -> RevisionRecord:
    source = Source(files=(), interpreter=this_interpreter(), variables_secret=secret)
    return RevisionRecord(id=id, api="iris", document={}, source=source, environment_digest="", created_at=0)


async def test_the_next_leader_knows_what_revisions_refer_to(server: ApiServer) -> None:
    made = make_variables_secret("iris", {"A": "1", "B": "ä"}, KEY)
    await server.apply(made)
    variables = SecretVariables(server, "token")
    await variables.recall(
        [a_revision("r1", made["metadata"]["name"]), a_revision("r2", None), a_revision("r3", "gone")]
    )
    assert [variables.load("iris", each) for each in ("r1", "r2", "r3")] == [{"A": "1", "B": "ä"}, {}, {}]


async def test_what_is_not_there_yet_or_could_change_is_refused(server: ApiServer) -> None:
    variables = SecretVariables(server, "token")
    with pytest.raises(NotFound, match="there is no Secret iris-variables"):
        await variables.read("iris-variables")
    await server.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iris-variables"}})
    with pytest.raises(InvalidSpec, match="not immutable"):
        await variables.read("iris-variables")


def test_the_same_values_have_the_same_name_which_tells_nothing_of_them() -> None:
    def name(values: dict[str, str], key: bytes = KEY) -> str:
        return str(make_variables_secret("iris", values, key)["metadata"]["name"])

    assert name({"A": "1", "B": "2"}) == name({"B": "2", "A": "1"})
    assert len({name({"A": "1"}), name({"A": "2"}), name({"A": "1"}, variables_key("another"))}) == 3


def test_every_published_kubernetes_takes_it() -> None:
    validate(make_variables_secret("iris", {"A": "1"}, KEY, OWNER))


def test_what_is_forgotten_is_forgotten(server: ApiServer) -> None:
    variables = SecretVariables(server, "token")
    for api, revision in (("iris", "r1"), ("iris", "r2"), ("other", "r1")):
        variables.save(api, revision, {"A": api})
    variables.prune([("iris", "r2"), ("other", "r1")])
    assert variables.load("iris", "r1") == {}
    variables.remove("iris")
    assert [variables.load("iris", "r2"), variables.load("other", "r1")] == [{}, {"A": "other"}]
