"""Which objects of a namespace belong to an installation: they carry its labels, whoever made them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.names import COMPONENT, HATCHWAY, NAME
from hatchway.kubernetes.resources import KNOWN, PODS, REALTIME_APIS, Json, Resource

ALL = f"{NAME}={HATCHWAY}"
PARTS = f"{ALL},{COMPONENT} in (operator,gateway)"  # without what belongs to APIs
HELM = "meta.helm.sh/release-name"  # an annotation of what Helm has made

# Pods belong to their Deployments, and RealtimeAPIs to their authors.
KINDS = tuple(each for each in KNOWN if each.is_namespaced and each not in (PODS, REALTIME_APIS))


async def find_objects(
    server: ApiServer, labels: str, kinds: Sequence[Resource] = KINDS
) -> list[tuple[Resource, Json]]:
    """With their kind, which a list does not say. A kind that this cluster does not know has none."""
    return [(resource, obj) for resource in kinds async for obj in every(server, resource, labels)]


async def every(server: ApiServer, resource: Resource, labels: str = "") -> AsyncIterator[Json]:
    try:
        async for page, _ in server.pages(resource, labels=labels):
            for obj in page:
                yield obj
    except Refused as refused:
        if refused.code != 404:
            raise


def helm_release(obj: Json | None) -> str:
    """ "" for what Helm has not made."""
    return str((obj or {"metadata": {}})["metadata"].get("annotations", {}).get(HELM, ""))
