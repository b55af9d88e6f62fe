"""Which rights somebody needs to install, upgrade or remove: asked for before anything is done. Deciding is pure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hatchway.errors import AccessDenied
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS, Json, resource_of

AT_ONCE = 10  # questions on their way


@dataclass(frozen=True, order=True)
class Right:
    """`namespace` "": in the whole cluster. `name`: only for the object of this name."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """As `kubectl auth can-i` takes it."""
        plural, _, sub = self.resource.partition("/")
        return f"{plural}{f'.{self.group}' if self.group else ''}{f'/{sub}' if sub else ''}"


def rights_to_look(namespace: str) -> list[Right]:
    """To find out what is there."""
    return [
        Right(each.group, each.plural, "get", namespace if each.is_namespaced else "")
        for each in (CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SECRETS)
    ]


def rights_to_install(objects: Sequence[Json]) -> list[Right]:
    """To make the objects and to see what becomes of them. Whoever makes a role must have the rights in it."""
    found: set[Right] = set()
    for obj in objects:
        resource, metadata = resource_of(obj), obj["metadata"]
        namespace = metadata.get("namespace", "")
        found |= {Right(resource.group, resource.plural, verb, namespace) for verb in ("get", "create", "patch")}
        if obj["kind"] == "Role":
            found |= set(_granted(obj, namespace))
        if obj["kind"] == "Deployment":
            watched = (DEPLOYMENTS, PODS)
            found |= {Right(each.group, each.plural, verb, namespace) for each in watched for verb in ("list", "watch")}
    return sorted(found)


def _granted(role: Json, namespace: str) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", ("",)):
                        yield Right(group, resource, verb, namespace, name)


async def check_rights(server: ApiServer, rights: Iterable[Right], *, to: str) -> None:
    """Raises AccessDenied that names all that are missing."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def has(right: Right) -> bool:
        async with turns:
            return await server.may(right.verb, right.group, right.resource, right.namespace, right.name)

    wanted = list(rights)
    answers = await asyncio.gather(*(has(right) for right in wanted))
    missing = [right for right, is_there in zip(wanted, answers, strict=True) if not is_there]
    if missing:
        raise AccessDenied(
            f"you may not {to}; what is missing: {'; '.join(_said(missing))}",
            hint="an administrator of the cluster has these rights, or can give them to you by a role",
        )


def _said(missing: Sequence[Right]) -> Iterator[str]:
    """The verbs of a kind together."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in missing:
        named = f"{right.kind}/{right.name}" if right.name else right.kind
        verbs.setdefault((named, right.namespace), []).append(right.verb)
    for (kind, namespace), several in verbs.items():
        yield f"{', '.join(dict.fromkeys(several))} {kind}{f' in {namespace}' if namespace else ''}"
