"""Removing an installation: first its APIs, while an operator can still let them finish, then the rest, and all of it.

APIs -> operator and gateways, until their pods are gone -> everything with our labels -> the definition -> namespace
"""

from __future__ import annotations

from hatchway.cluster.inventory import ALL, KINDS, every, find_objects, helm_release
from hatchway.cluster.rights import Right, check_rights
from hatchway.cluster.waiting import Tell, await_gone
from hatchway.errors import Conflict, HatchwayError
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.definition import definition_name
from hatchway.kubernetes.names import HATCHWAY, MANAGED_BY
from hatchway.kubernetes.resources import DEFINITIONS, DEPLOYMENTS, NAMESPACES, PODS, REALTIME_APIS, Json, Resource
from hatchway.operator.objects import OPERATOR

GONE_S = 120.0  # for pods to end after their Deployments
# Kinds that we have none of and that others may have in a namespace.
_OF_OTHERS = (
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("batch", "v1", "cronjobs", "CronJob"),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress"),
)
# What a namespace has without anybody's doing.
_BORN = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}


def rights_to_remove(namespace: str) -> list[Right]:
    kinds = (*KINDS, REALTIME_APIS)
    return [Right(each.group, each.plural, verb, namespace) for each in kinds for verb in ("list", "delete")]


async def check_removal(server: ApiServer, apis: list[Json], *, delete_apis: bool) -> None:
    """Raises HatchwayError when it must not or cannot be removed."""
    if release := helm_release(await server.find(DEPLOYMENTS, OPERATOR)):
        raise Conflict(f"Helm has installed this, as release {release}", hint=f"helm uninstall {release}")
    if apis and not delete_apis:
        names = ", ".join(each["metadata"]["name"] for each in apis)
        raise Conflict(f"APIs are deployed: {names}", hint="delete them first, or all with --delete-apis")
    await check_rights(server, rights_to_remove(server.namespace), to=f"remove Hatchway from {server.namespace}")


async def find_apis(server: ApiServer) -> list[Json]:
    """Of the namespace."""
    return [each async for each in every(server, REALTIME_APIS)]


async def remove(server: ApiServer, timeout_s: float, tell: Tell) -> int:
    """How many objects went. May be repeated after it was cut off."""
    n_apis = await _remove_apis(server, timeout_s, tell)
    for deployment in await find_objects(server, ALL, (DEPLOYMENTS,)):
        await server.delete(DEPLOYMENTS, deployment[1]["metadata"]["name"])
    if not await await_gone(server, PODS, GONE_S):
        raise HatchwayError(
            f"pods did not end within {GONE_S:.0f} s", hint="kubectl get pods tells which; then repeat this command"
        )
    n_gone = 0
    while found := [each for each in await find_objects(server, ALL) if "deletionTimestamp" not in each[1]["metadata"]]:
        for resource, obj in found:
            if not obj["metadata"].get("ownerReferences"):
                await server.delete(resource, obj["metadata"]["name"], uid=obj["metadata"]["uid"])
                tell(f"{resource.kind.lower()}/{obj['metadata']['name']} is removed")
                n_gone += 1
        for resource in {resource for resource, _ in found}:
            if not await await_gone(server, resource, GONE_S):
                raise HatchwayError(f"some {resource.plural} are still there", hint="repeat this command")
    return n_apis + n_gone + await _remove_shared(server, tell)


async def _remove_apis(server: ApiServer, timeout_s: float, tell: Tell) -> int:
    apis = await find_apis(server)
    for api in apis:
        await server.delete(REALTIME_APIS, api["metadata"]["name"])
    if not apis:
        return 0
    tell(f"{len(apis)} APIs finish their requests")
    if not await await_gone(server, REALTIME_APIS, timeout_s, labels=""):
        for api in await find_apis(server):
            tell(f"{api['metadata']['name']}: no operator has let it finish within {timeout_s:.0f} s; it goes as it is")
            name, version = api["metadata"]["name"], api["metadata"]["resourceVersion"]
            patch = {"metadata": {"finalizers": None, "resourceVersion": version}}
            await server.merge(REALTIME_APIS, name, patch)
    return len(apis)


async def _remove_shared(server: ApiServer, tell: Tell) -> int:
    """What other namespaces may use too: the definition while it has objects elsewhere stays, and so does a namespace
    that holds anything else."""
    n_gone = 0
    everywhere = server.everywhere()
    definition = definition_name(REALTIME_APIS)
    try:
        others = {each["metadata"]["namespace"] async for each in every(everywhere, REALTIME_APIS)}
        installed = {obj["metadata"]["namespace"] for _, obj in await find_objects(everywhere, ALL, (DEPLOYMENTS,))}
        if others | installed:
            tell(f"{definition} stays: {', '.join(sorted(others | installed))} use it")
        elif await everywhere.find(DEFINITIONS, definition) is not None:
            await everywhere.delete(DEFINITIONS, definition)
            await await_gone(everywhere, DEFINITIONS, GONE_S, labels=ALL)
            tell(f"customresourcedefinition/{definition} is removed")
            n_gone += 1
    except Refused as refused:
        if refused.code != 403:
            raise
        tell(f"{definition} stays: you may not see whether other namespaces use it, or not remove it")
    return n_gone + await _remove_namespace(server, tell)


async def _remove_namespace(server: ApiServer, tell: Tell) -> int:
    namespace = await server.find(NAMESPACES, server.namespace)
    if namespace is None or namespace["metadata"].get("labels", {}).get(MANAGED_BY) != HATCHWAY:
        return 0
    left = [
        f"{resource.kind.lower()}/{obj['metadata']['name']}"
        for resource, obj in await find_objects(server, "", (*KINDS, PODS, *_OF_OTHERS))
        if (resource.kind, obj["metadata"]["name"]) not in _BORN and "deletionTimestamp" not in obj["metadata"]
    ]
    if left:
        tell(f"namespace/{server.namespace} stays: it holds {', '.join(left[:5])}{' and more' if left[5:] else ''}")
        return 0
    await server.delete(NAMESPACES, server.namespace, uid=namespace["metadata"]["uid"])
    tell(f"namespace/{server.namespace} is removed")
    return 1
