"""What is installed, as `hatchway cluster status` tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from hatchway.cluster.choices import RECORD, read_version
from hatchway.cluster.inventory import PARTS, every, find_objects, helm_release
from hatchway.cluster.readiness import part_of
from hatchway.errors import NotFound
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.certificates import ends_at_s
from hatchway.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    LEASES,
    PODS,
    REALTIME_APIS,
    SECRETS,
    SERVICES,
    Json,
)
from hatchway.operator.gateway_objects import GATEWAY
from hatchway.operator.objects import OPERATOR
from hatchway.operator.secrets import GATEWAY_TLS, OPERATOR_TLS, read_certified, read_secret
from hatchway.spec.cluster import ClusterStatus, PartStatus

T = TypeVar("T")


async def look(server: ApiServer, address: str) -> ClusterStatus:
    """Raises NotFound when nothing is installed in the namespace."""
    deployments = [obj for _, obj in await find_objects(server, PARTS, (DEPLOYMENTS,))]
    if not deployments:
        raise NotFound(f"there is no Hatchway in namespace {server.namespace}", hint="hatchway cluster install")
    operator = next((each for each in deployments if each["metadata"]["name"] == OPERATOR), None)
    pods = [obj async for obj in every(server, PODS, PARTS)]
    lease = await _if_allowed(server.find(LEASES, OPERATOR))
    service = await server.find(SERVICES, GATEWAY)
    phases = Counter([obj.get("status", {}).get("phase", "new") async for obj in every(server, REALTIME_APIS)])
    return ClusterStatus(
        cluster=address,
        namespace=server.namespace,
        kubernetes=await server.version(),
        version=read_version(await server.find(CONFIG_MAPS, RECORD)),
        installed_by="helm" if helm_release(operator) else "hatchway",
        parts=tuple(_part(each, pods) for each in sorted(deployments, key=lambda each: str(each["metadata"]["name"]))),
        leader=((lease or {}).get("spec") or {}).get("holderIdentity") or "",
        gateway="" if service is None else address_of(service),
        apis=dict(sorted(phases.items())),
        certificates_end=await _first_end(server),
    )


def address_of(service: Json) -> str:
    """Where a Service takes requests: outside of the cluster if it does there."""
    spec, metadata = service["spec"], service["metadata"]
    port = spec["ports"][0]
    suffix = "" if port["port"] == 80 else f":{port['port']}"
    for outside in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        return f"http://{outside.get('hostname') or outside['ip']}{suffix}"
    if port.get("nodePort"):
        return f"http://NODE:{port['nodePort']}"
    return f"http://{metadata['name']}.{metadata['namespace']}.svc{suffix}"


def _part(deployment: Json, pods: list[Json]) -> PartStatus:
    part = part_of(deployment, pods)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return PartStatus(
        name=part.name, image=image, ready=part.ready, wanted=part.wanted, reason=part.reason, message=part.message
    )


async def _first_end(server: ApiServer) -> str:
    ends = []
    for name in (OPERATOR_TLS, GATEWAY_TLS):
        issued = read_certified(read_secret(await _if_allowed(server.find(SECRETS, name))), "tls")
        if issued is not None:
            ends.append(ends_at_s(issued.certificate))
    return datetime.fromtimestamp(min(ends), UTC).isoformat().replace("+00:00", "Z") if ends else ""


async def _if_allowed(asked: Awaitable[T]) -> T | None:
    """Not everybody who may see an installation may see all of it."""
    try:
        return await asked
    except Refused as refused:
        if refused.code != 403:
            raise
        return None
