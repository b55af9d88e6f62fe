"""The way to an API server, from the files that name it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hatchway.errors import UsageError
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect
from hatchway.kubernetes.resources import NAMESPACES
from tests.kubernetes.double import Cluster


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Path:
    path = tmp_path / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "double", "cluster": {"server": cluster.url}}],
        "users": [{"name": "admin", "user": {"token": cluster.token}}],
        "contexts": [
            {"name": "lab", "context": {"cluster": "double", "user": "admin", "namespace": "models"}},
            {"name": "bare", "context": {"cluster": "double", "user": "admin"}},
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def test_a_context_names_cluster_user_and_namespace(kubeconfig: Path, cluster: Cluster) -> None:
    connection = connect(kubeconfig=kubeconfig)
    assert (connection.namespace, connection.server) == ("models", cluster.url)
    server = ApiServer(connection)
    assert (await server.get(NAMESPACES, "default"))["kind"] == "Namespace"
    await server.close()
    other = connect("bare", kubeconfig=kubeconfig)
    assert other.namespace == "default"
    await other.http.aclose()


def test_a_context_or_a_file_that_is_not_there_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prod"):
        connect("prod", kubeconfig=kubeconfig)
    with pytest.raises(UsageError, match="nowhere"):
        connect(kubeconfig=tmp_path / "nowhere")
