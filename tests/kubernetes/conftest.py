"""A cluster of one's own, and calls of its API server that do not wait between tries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from tests.kubernetes.double import Cluster, a_cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[ApiServer]:
    server = ApiServer(connect_to(cluster.url, cluster.token))
    yield server
    await server.close()
