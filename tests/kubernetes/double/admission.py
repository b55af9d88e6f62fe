"""What the server fills in, and what it refuses although it has the right shape. Pure."""

from __future__ import annotations

import copy
import re

from tests.kubernetes.double.kinds import Kind
from tests.kubernetes.double.schemas import Json
from tests.kubernetes.double.selectors import match_spec

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUANTITY = re.compile(r"[+-]?\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti|n|u)?")


def with_defaults(kind: Kind, obj: Json) -> Json:
    """The fields that the real server fills in and that our code could stumble over."""
    obj = copy.deepcopy(obj)
    spec = obj.get("spec", {})
    match kind.kind:
        case "Deployment":
            spec.setdefault("replicas", 1)
            spec.setdefault("revisionHistoryLimit", 10)
            spec.setdefault("progressDeadlineSeconds", 600)
            strategy = spec.setdefault("strategy", {"type": "RollingUpdate"})
            if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
                rolling = strategy.setdefault("rollingUpdate", {})
                rolling.setdefault("maxSurge", "25%")
                rolling.setdefault("maxUnavailable", "25%")
            _fill_pod(spec.get("template", {}).get("spec", {}))
        case "ReplicaSet":
            spec.setdefault("replicas", 1)
            _fill_pod(spec.get("template", {}).get("spec", {}))
        case "Pod":
            _fill_pod(spec)
            obj.setdefault("status", {}).setdefault("phase", "Pending")
        case "Service":
            spec.setdefault("type", "ClusterIP")
            for port in spec.get("ports", ()):
                port.setdefault("protocol", "TCP")
                port.setdefault("targetPort", port["port"])
        case "Secret":
            obj.setdefault("type", "Opaque")
        case "Namespace":
            obj.setdefault("status", {"phase": "Active"})
    return obj


def _fill_pod(spec: Json) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "Always" if _is_latest(container.get("image", "")) else "IfNotPresent")
        resources = container.setdefault("resources", {})
        for name, amount in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            if probe in container:
                for name, value in (
                    ("timeoutSeconds", 1),
                    ("periodSeconds", 10),
                    ("successThreshold", 1),
                    ("failureThreshold", 3),
                ):
                    container[probe].setdefault(name, value)


def _is_latest(image: str) -> bool:
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in ("", "latest") and "@" not in image


def violations(kind: Kind, obj: Json, before: Json | None) -> list[str]:
    """Why the object is refused with 422."""
    metadata, spec = obj["metadata"], obj.get("spec", {})
    found = _of_metadata(kind, metadata)
    match kind.kind:
        case "Deployment" | "ReplicaSet":
            labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
            selector = spec.get("selector", {})
            if not match_spec(labels, selector):
                found.append(f"spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match")
            if before is not None and before["spec"]["selector"] != selector:
                found.append("spec.selector: Invalid value: field is immutable")
            template = spec.get("template", {}).get("spec", {})
            if template.get("restartPolicy", "Always") != "Always":
                found.append("spec.template.spec.restartPolicy: Unsupported value")
            found += _of_pod(template, "spec.template.spec")
        case "Pod":
            found += _of_pod(spec, "spec")
            if before is not None and _frozen(before["spec"]) != _frozen(spec):
                found.append("spec: Forbidden: pod updates may not change fields other than images and tolerations")
        case "ControllerRevision" | "ConfigMap" | "Secret":
            is_immutable = kind.kind == "ControllerRevision" or (before or {}).get("immutable")
            if before is not None and is_immutable and before.get("data") != obj.get("data"):
                found.append("data: Forbidden: field is immutable")
    return found


def _of_metadata(kind: Kind, metadata: Json) -> list[str]:
    name = metadata["name"]
    pattern = _DNS_LABEL if kind.kind in ("Service", "Namespace") else _DNS_SUBDOMAIN
    longest = 63 if kind.kind in ("Service", "Namespace") else 253
    is_path = kind.group == "rbac.authorization.k8s.io"  # system:reader and the like
    found = []
    if not is_path and (not pattern.fullmatch(name) or len(name) > longest):
        found.append(f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 name is needed')
    for label, value in metadata.get("labels", {}).items():
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            found.append(f'metadata.labels.{label}: Invalid value: "{value}"')
    for owner in metadata.get("ownerReferences", ()):
        found += [f"metadata.ownerReferences.{part}: Required value" for part in ("uid", "name") if not owner.get(part)]
    return found


def _of_pod(spec: Json, path: str) -> list[str]:
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    found: list[str] = []
    names: set[str] = set()
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        where = f"{path}.containers[{container['name']}]"
        if container["name"] in names or not _DNS_LABEL.fullmatch(container["name"]):
            found.append(f"{where}.name: Invalid or duplicate value")
        names.add(container["name"])
        if not container.get("image"):
            found.append(f"{where}.image: Required value")
        mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
        found += [f'{where}.volumeMounts.name: Not found: "{name}"' for name in sorted(mounts - volumes)]
        found += _of_resources(container.get("resources", {}), where)
        for probe in ("livenessProbe", "startupProbe"):
            if container.get(probe, {}).get("successThreshold", 1) != 1:
                found.append(f"{where}.{probe}.successThreshold: Invalid value: must be 1")
    if not spec.get("containers"):
        found.append(f"{path}.containers: Required value")
    return found


def _of_resources(resources: Json, where: str) -> list[str]:
    found = []
    for part in ("limits", "requests"):
        for name, amount in resources.get(part, {}).items():
            if not _QUANTITY.fullmatch(str(amount)):
                found.append(f"{where}.resources.{part}[{name}]: Invalid value: {amount!r}")
    for name, amount in resources.get("requests", {}).items():
        if "/" in name and resources.get("limits", {}).get(name) != amount:
            found.append(f"{where}.resources.requests[{name}]: Invalid value: must be equal to {name} limit")
    return found


def _frozen(spec: Json) -> Json:
    """Of a pod, what cannot change once it exists."""
    kept = {
        name: value for name, value in spec.items() if name not in ("tolerations", "nodeName", "activeDeadlineSeconds")
    }
    containers = [{name: value for name, value in each.items() if name != "image"} for each in spec["containers"]]
    return {**kept, "containers": containers}
