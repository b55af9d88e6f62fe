"""Installing and upgrading: see what is there, check what can be checked, apply, remove what is no part any more.

    prepare (changes nothing) -> apply, object by object -> waiting.await_ready

Both do the same: what was chosen before stays unless something else is said now, and so do keys. Applying what is
there already changes nothing, so all of it may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchway import __version__
from hatchway.cluster.choices import RECORD, Choices, key_of, make_record, read_choices, read_parts, read_version
from hatchway.cluster.differences import differences, name_of
from hatchway.cluster.inventory import every, helm_release
from hatchway.cluster.looking import address_of
from hatchway.cluster.rights import check_rights, rights_to_install, rights_to_look
from hatchway.cluster.waiting import Tell, await_ready
from hatchway.errors import Conflict, NotFound, UsageError
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.definition import definition_name
from hatchway.kubernetes.names import HATCHWAY, MANAGED_BY, NAME
from hatchway.kubernetes.resources import (
    CLAIMS,
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    KNOWN,
    NAMESPACES,
    POD_MONITORS,
    SECRETS,
    SERVICES,
    STORAGE_CLASSES,
    Json,
    resource_of,
)
from hatchway.operator.gateway_objects import GATEWAY
from hatchway.operator.keys import keep_or_make
from hatchway.operator.objects import OPERATOR, make_objects
from hatchway.operator.secrets import KEPT_SECRETS
from hatchway.spec.cluster import Installed

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"  # an annotation


@dataclass(frozen=True)
class Wish:
    """`force` sets back what others have changed; `is_upgrade`: only where something is installed."""

    choices: Choices
    timeout_s: float
    force: bool = False
    is_upgrade: bool = False


@dataclass(frozen=True)
class Plan:
    """`former_version` is "" for a first installation. `news` tells of keys that are made anew."""

    choices: Choices
    objects: Sequence[Json]
    former_version: str
    former_parts: Sequence[str]
    news: Sequence[str]


def objects_of(choices: Choices, namespace: str, found: dict[str, Json], now_s: float) -> tuple[list[Json], list[str]]:
    """All of an installation in the order of applying, and what is told of its keys. Raises UsageError."""
    keys, news = keep_or_make(found, namespace, now_s)
    made = make_objects(choices.to_installation(namespace, keys))
    # The record comes last: until then the one before tells what is to be removed.
    return [make_namespace(namespace), *made, make_record(choices, namespace, made)], news


def make_namespace(name: str) -> Json:
    labels = {NAME: HATCHWAY, MANAGED_BY: HATCHWAY}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


async def install(server: ApiServer, wish: Wish, now_s: float, tell: Tell) -> Installed:
    """All steps. Raises HatchwayError, also when it does not get ready in time; then it may be repeated."""
    plan = await prepare(server, wish.choices, now_s, is_upgrade=wish.is_upgrade)
    for each in plan.news:
        tell(each)
    n_changed = await apply(server, plan, tell, force=wish.force)
    await await_ready(server, wish.timeout_s, tell)
    return Installed(
        namespace=server.namespace,
        version=__version__,
        former_version=plan.former_version,
        changed=n_changed,
        gateway=address_of(await server.get(SERVICES, GATEWAY)),
    )


async def prepare(server: ApiServer, choices: Choices, now_s: float, *, is_upgrade: bool) -> Plan:
    """Changes nothing. Raises HatchwayError for all that would stand in the way, as far as it can be seen."""
    namespace = server.namespace
    await check_rights(server, rights_to_look(namespace), to=f"look into {namespace}")
    record = await server.find(CONFIG_MAPS, RECORD)
    operator = await server.find(DEPLOYMENTS, OPERATOR)
    if release := helm_release(operator):
        raise Conflict(f"Helm has installed this, as release {release}", hint=f"helm upgrade {release}")
    if is_upgrade and record is None:
        raise NotFound(f"there is no Hatchway in namespace {namespace}", hint="hatchway cluster install")
    chosen = choices.over(read_choices(record))
    secrets = [await server.find(SECRETS, name) for name in KEPT_SECRETS]
    found = {each["metadata"]["name"]: each for each in secrets if each is not None}
    objects, news = objects_of(chosen, namespace, found, now_s)
    there = await server.find(NAMESPACES, namespace)
    if there is not None and there["metadata"].get("labels", {}).get(MANAGED_BY) != HATCHWAY:
        objects = [each for each in objects if each["kind"] != "Namespace"]  # somebody else's, and stays theirs
    await check_rights(server, rights_to_install(objects), to=f"install into {namespace}")
    if chosen.pod_monitor and await server.find(DEFINITIONS, definition_name(POD_MONITORS)) is None:
        hint = "they come with the Prometheus operator: install that first, or say --no-pod-monitor"
        raise UsageError("--pod-monitor: this cluster knows no PodMonitors", hint=hint)
    for claim in (each for each in objects if each["kind"] == "PersistentVolumeClaim"):
        if await server.find(CLAIMS, claim["metadata"]["name"]) is None:
            await _check_storage(server, claim["spec"].get("storageClassName"))
    return Plan(chosen, objects, read_version(record), read_parts(record), news)


async def _check_storage(server: ApiServer, wanted: str | None) -> None:
    """Raises UsageError where nothing would ever give the claim a volume. Not everybody may look."""
    try:
        classes = [obj async for obj in every(server, STORAGE_CLASSES)]
    except Refused as refused:
        if refused.code != 403:
            raise
        return
    names = [each["metadata"]["name"] for each in classes]
    known = f"the cluster has: {', '.join(names)}" if names else "the cluster has none: its administrator can make one"
    if wanted is not None and wanted not in names:
        raise UsageError(f"--storage-class {wanted}: there is no such storage class", hint=known)
    if wanted is None and not any(_is_default(each) for each in classes):
        raise UsageError("the cluster has no default storage class: name one with --storage-class", hint=known)


def _is_default(storage_class: Json) -> bool:
    return bool(storage_class["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true")


async def apply(server: ApiServer, plan: Plan, tell: Tell, *, force: bool = False) -> int:
    """How many objects changed; what changes is told. Raises Conflict for fields that are somebody else's."""
    n_changed = 0
    for obj in plan.objects:
        is_record = obj["kind"] == "ConfigMap" and obj["metadata"]["name"] == RECORD
        if is_record:
            n_changed += await _prune(server, plan, tell)
        before = await server.find(resource_of(obj), obj["metadata"]["name"])
        try:
            after = await server.apply(obj, force=force)
        except Refused as refused:
            if refused.code == 409:
                raise _conflict(obj, refused) from refused
            raise
        changes = [] if before is None else differences(before, after)
        n_changed += before is None or bool(changes)
        if before is None:
            tell(f"{name_of(obj)} is made")
        for change in changes if not is_record else ():
            tell(f"{name_of(obj)} {change}")
    return n_changed


def _conflict(obj: Json, refused: Refused) -> Conflict:
    return Conflict(
        f"{name_of(obj)}: somebody else has changed what Hatchway sets: {refused}",
        hint="--force sets it back; or have them change it back first",
    )


async def _prune(server: ApiServer, plan: Plan, tell: Tell) -> int:
    """Remove what the former version or choices had made, and these do not. A claim stays: it holds data."""
    gone = set(plan.former_parts) - {key_of(each) for each in plan.objects}
    resources = {each.kind: each for each in KNOWN if each not in (CLAIMS, DEFINITIONS)}
    removable = [
        (resources[kind], name) for kind, name in (key.split("/") for key in sorted(gone)) if kind in resources
    ]
    for resource, name in removable:
        await server.delete(resource, name)
        tell(f"{resource.kind.lower()}/{name} is removed: it is no part any more")
    return len(removable)
