"""A cluster as somebody with a kubeconfig sees it, and the commands that they run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from hatchway.cluster.installing import DEFAULT_CLASS
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.resources import STORAGE_CLASSES, Json, Resource
from tests.cli.conftest import CommandLine, Done
from tests.kubernetes.double import Cluster
from tests.kubernetes.double.api import MERGE_PATCH, Options
from tests.kubernetes.published import validate
from tests.operator.builders import IMAGE

CONTEXT = "prod"
STORAGE_CLASS: Json = {
    "apiVersion": STORAGE_CLASSES.api_version,
    "kind": "StorageClass",
    "metadata": {"name": "fast", "annotations": {DEFAULT_CLASS: "true"}},
    "provisioner": "example.com/disks",
}


class Admin:
    """`hatchway cluster ...` in this process, with a kubeconfig in `folder`."""

    def __init__(self, cluster: Cluster, folder: Path, token: str = "") -> None:
        self.cluster = cluster
        kubeconfig = folder / f"kubeconfig-{token[:4]}"
        kubeconfig.write_text(json.dumps(kubeconfig_of(cluster, token or cluster.token)))
        variables = {"HATCHWAY_HOME": str(folder / "home"), "KUBECONFIG": str(kubeconfig), "COLUMNS": "200"}
        self.line = CommandLine(variables)

    def run(self, *arguments: str, stdin: str = "") -> Done:
        return self.line.run("cluster", *arguments, stdin=stdin)

    def install(self, *arguments: str) -> Done:
        return self.run("install", "--image", IMAGE, "--timeout", "60", *arguments)


def kubeconfig_of(cluster: Cluster, token: str) -> Json:
    return {
        "current-context": CONTEXT,
        "clusters": [{"name": "double", "cluster": {"server": cluster.url}}],
        "users": [{"name": "somebody", "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": "double", "user": "somebody"}}],
    }


def put(cluster: Cluster, *objects: Json) -> None:
    """As somebody else."""

    async def apply() -> None:
        server = ApiServer(connect_to(cluster.url, cluster.token))
        try:
            for obj in objects:
                await server.apply(obj, force=True)
        finally:
            await server.close()

    asyncio.run(apply())


def edit(cluster: Cluster, resource: Resource, namespace: str, name: str, patch: Json) -> None:
    """A merge by another field manager."""
    kind = cluster.call(lambda: cluster.api.kind(resource.group, resource.version, resource.plural))
    cluster.call(lambda: cluster.api.patch(kind, namespace, name, MERGE_PATCH, patch, Options(manager="kubectl-edit")))


def object_of(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Json:
    found = cluster.call(lambda: cluster.api.objects.get((resource.group, resource.plural), (namespace, name)))
    assert found is not None
    return found


def everything(cluster: Cluster) -> set[str]:
    """All objects by kind, namespace and name."""

    def collect() -> set[str]:
        return {f"{key[1]}/{name[0]}/{name[1]}" for key, name, _ in cluster.api.objects.everything()}

    return cluster.call(collect)


def check_what_was_sent(cluster: Cluster) -> None:
    """Every object that was applied, against the published schemas."""
    applied = [each.document() for each in cluster.requests if each.content_type == "application/apply-patch+yaml"]
    assert applied
    for obj in applied:
        if obj["apiVersion"].partition("/")[0] != "hatchway.dev":
            validate(obj)
