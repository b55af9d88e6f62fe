"""The verbs of the server on one kind of object, as the HTTP layer calls them. Raises Refused."""

from __future__ import annotations

import copy
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.double import failures
from tests.kubernetes.double.admission import violations, with_defaults
from tests.kubernetes.double.failures import Refused
from tests.kubernetes.double.kinds import BUILTIN, Kind, of_definition
from tests.kubernetes.double.managed import (
    Conflicting,
    Fields,
    Manager,
    apply,
    read_owners,
    record_update,
    write_owners,
)
from tests.kubernetes.double.merges import Unpatchable, json_patch, merge_patch, strategic_merge
from tests.kubernetes.double.objects import Name, Objects, key_of
from tests.kubernetes.double.schemas import Findings, Json, Schemas, conform
from tests.kubernetes.double.selectors import match_spec

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Options:
    """The query parameters that writes share."""

    manager: str = "test"
    is_dry_run: bool = False
    is_strict: bool = False
    force: bool = False


class Api:
    """Objects with the rules of the API server. Not thread-safe."""

    def __init__(self, schemas: Schemas, wall_clock: Callable[[], float] = time.time) -> None:
        self.objects = Objects()
        self.schemas = schemas
        self._now = wall_clock
        self._custom: list[Kind] = []
        for name in ("default", "kube-system"):
            self.create(self.kind("", "v1", "namespaces"), "", {"metadata": {"name": name}}, Options())

    # --- kinds ---------------------------------------------------------------------------------------------
    def kind(self, group: str, version: str, plural: str) -> Kind:
        for each in (*BUILTIN, *self._custom):
            if (each.group, each.version, each.plural) == (group, version, plural):
                return each
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def kind_of(self, api_version: str, name: str) -> Kind | None:
        return next((k for k in (*BUILTIN, *self._custom) if (k.api_version, k.kind) == (api_version, name)), None)

    def kind_of_key(self, key: tuple[str, str]) -> Kind:
        return next(each for each in (*BUILTIN, *self._custom) if key_of(each) == key)

    # --- reading -------------------------------------------------------------------------------------------
    def get(self, kind: Kind, name: Name) -> Json:
        found = self.objects.get(key_of(kind), name)
        if found is None:
            raise failures.not_found(kind.resource, name[1])
        return found

    # --- writing -------------------------------------------------------------------------------------------
    def create(self, kind: Kind, namespace: str, body: Json, options: Options) -> Json:
        obj = self._read(kind, namespace, body, options)
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        name = _name_of(obj)
        if not name[1]:
            raise failures.invalid(kind.kind, "", ["metadata.name: Required value: name or generateName is required"])
        if metadata.get("resourceVersion"):
            raise failures.bad_request("resourceVersion should not be set on objects to be created")
        if self.objects.get(key_of(kind), name) is not None:
            raise failures.already_exists(kind.resource, name[1])
        if kind.is_namespaced and self.objects.get(("", "namespaces"), ("", namespace)) is None:
            raise failures.not_found("namespaces", namespace)
        if kind.has_status and kind.kind not in ("Namespace", "Pod"):
            obj.pop("status", None)
        for server_set in ("uid", "creationTimestamp", "deletionTimestamp", "managedFields"):
            metadata.pop(server_set, None)
        return self._store(kind, None, self._born(obj), Manager(options.manager, "Update"), options)

    def update(self, kind: Kind, namespace: str, name: str, body: Json, options: Options, sub: str = "") -> Json:
        before = self.get(kind, (namespace, name))
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != before["metadata"]["resourceVersion"]:
            raise failures.modified(kind.resource, name)
        uid = body.get("metadata", {}).get("uid") or before["metadata"]["uid"]
        if uid != before["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['metadata']['uid']}"
            raise failures.conflict(kind.resource, name, why)
        obj = self._read(kind, namespace, body, options)
        if obj["metadata"].get("name", name) != name:
            raise failures.bad_request("the name of the object does not match the name on the URL")
        after = self._take_over(kind, before, obj, sub)
        return self._store(kind, before, after, Manager(options.manager, "Update", sub), options)

    def patch(
        self, kind: Kind, namespace: str, name: str, content_type: str, body: Any, options: Options, sub: str = ""
    ) -> Json:
        if content_type == APPLY_PATCH:
            return self._apply(kind, namespace, name, body, options, sub)
        before = self.get(kind, (namespace, name))
        node = kind.node(self.schemas)
        if content_type == MERGE_PATCH:
            patched = merge_patch(before, body)
        elif content_type == JSON_PATCH:
            try:
                patched = json_patch(before, body)
            except Unpatchable as exc:
                raise Refused(422, "Invalid", str(exc)) from None
        elif content_type == STRATEGIC_PATCH and kind.custom is None:
            patched = strategic_merge(before, body, node, self.schemas)
        else:
            raise Refused(
                415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
            )
        return self.update(kind, namespace, name, patched, options, sub)

    def _apply(self, kind: Kind, namespace: str, name: str, body: Json, options: Options, sub: str) -> Json:
        manager = Manager(options.manager, "Apply", sub)
        applied = self._read(kind, namespace, {**body}, options, fill=False)
        if applied["metadata"].get("managedFields"):
            raise failures.bad_request("metadata.managedFields must be nil")
        applied["metadata"]["name"] = name
        before = self.objects.get(key_of(kind), (namespace, name))
        fields = Fields(kind.node(self.schemas), self.schemas)
        if before is None:
            if sub:
                raise failures.not_found(kind.resource, name)
            if kind.is_namespaced and self.objects.get(("", "namespaces"), ("", namespace)) is None:
                raise failures.not_found("namespaces", namespace)
            if kind.has_status:
                applied.pop("status", None)
            owners = {manager: set(fields.of(applied))}
            applied["metadata"]["managedFields"] = write_owners(owners, kind.api_version, self.timestamp())
            return self._store(kind, None, self._born(applied), None, options)
        owners = read_owners(before["metadata"])
        applied = _only(applied, sub) if kind.has_status else applied
        try:
            merged = apply(before, applied, manager, owners, fields, force=options.force)
        except Conflicting as exc:
            causes = [{"reason": "FieldManagerConflict", "field": path} for _, path in exc.conflicts]
            raise Refused(409, "Conflict", str(exc), details={"causes": causes}) from None
        after = self._take_over(kind, before, merged, sub)
        after["metadata"]["managedFields"] = write_owners(owners, kind.api_version, self.timestamp())
        return self._store(kind, before, after, None, options)

    def delete(self, kind: Kind, namespace: str, name: str, body: Json, query: Json) -> Json:
        before = self.get(kind, (namespace, name))
        metadata = before["metadata"]
        for part, value in (body.get("preconditions") or {}).items():
            if metadata.get(part) != value:
                why = (
                    f"the {part.upper()} in the precondition ({value}) does not match that in record ({metadata[part]})"
                )
                raise failures.conflict(kind.resource, name, f"Precondition failed: {why}")
        if "All" in (query.get("dryRun"), *(body.get("dryRun") or ())):
            return before
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        is_pod_on_a_node = kind.kind == "Pod" and before["spec"].get("nodeName")
        if is_pod_on_a_node and grace is None:
            grace = before["spec"].get("terminationGracePeriodSeconds", 30)
        if metadata.get("finalizers") or (is_pod_on_a_node and int(grace or 0) > 0):
            return self._mark_deleted(kind, before, grace if is_pod_on_a_node else None)
        return self.remove(kind, (namespace, name))

    def _mark_deleted(self, kind: Kind, before: Json, grace: Any) -> Json:
        after = copy.deepcopy(before)
        after["metadata"].setdefault("deletionTimestamp", self.timestamp())
        if grace is not None:
            former = before["metadata"].get("deletionGracePeriodSeconds", int(grace))
            after["metadata"]["deletionGracePeriodSeconds"] = min(int(grace), former)
        return self.objects.put(kind, after)

    def remove(self, kind: Kind, name: Name) -> Json:
        gone = self.objects.remove(kind, name)
        if kind.kind == "CustomResourceDefinition":
            gone_kinds = {(each.group, each.plural) for each in of_definition(gone)}
            for key, each_name, _ in list(self.objects.everything()):
                if key in gone_kinds:
                    self.objects.remove(self.kind_of_key(key), each_name)
            self._custom = [each for each in self._custom if key_of(each) not in gone_kinds]
        if kind.kind == "Namespace":
            for key, each_name, _ in list(self.objects.everything()):
                if each_name[0] == name[1]:
                    self.objects.remove(self.kind_of_key(key), each_name)
        return gone

    # --- subresources --------------------------------------------------------------------------------------
    def get_scale(self, kind: Kind, namespace: str, name: str) -> Json:
        paths = kind.scale_paths
        obj = self.get(kind, (namespace, name))
        if paths is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        kept = {part: obj["metadata"].get(part) for part in ("name", "namespace", "uid", "resourceVersion")}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": kept,
            "spec": {"replicas": _at(obj, paths["specReplicasPath"]) or 0},
            "status": {"replicas": _at(obj, paths["statusReplicasPath"]) or 0},
        }

    def set_scale(self, kind: Kind, namespace: str, name: str, replicas: int, options: Options) -> Json:
        paths = kind.scale_paths
        assert paths is not None
        patch: Json = {}
        at = patch
        *parents, last = paths["specReplicasPath"].strip(".").split(".")
        for part in parents:
            at = at.setdefault(part, {})
        at[last] = replicas
        self.patch(kind, namespace, name, MERGE_PATCH, patch, options)
        return self.get_scale(kind, namespace, name)

    def evict(self, namespace: str, name: str, body: Json) -> Json:
        pods = self.kind("", "v1", "pods")
        pod = self.get(pods, (namespace, name))
        for budget in self.objects.all(("policy", "poddisruptionbudgets")):
            labels = pod["metadata"].get("labels", {})
            here = budget["metadata"]["namespace"] == namespace
            is_free = not is_ready(pod) and budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
            if here and not is_free and match_spec(labels, budget["spec"]["selector"]) and self._spare(budget) < 1:
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {budget['metadata']['name']}"}
                raise Refused(429, "TooManyRequests", message, details={"causes": [cause]})
        self.delete(pods, namespace, name, body.get("deleteOptions") or {}, {})
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}

    def _spare(self, budget: Json) -> int:
        """How many pods of a budget may go now."""
        spec, namespace = budget["spec"], budget["metadata"]["namespace"]
        pods = [
            pod
            for pod in self.objects.all(("", "pods"))
            if pod["metadata"]["namespace"] == namespace
            and match_spec(pod["metadata"].get("labels", {}), spec["selector"])
            and "deletionTimestamp" not in pod["metadata"]
        ]
        healthy = sum(is_ready(pod) for pod in pods)
        if "minAvailable" in spec:
            return healthy - _share(spec["minAvailable"], len(pods))
        return _share(spec["maxUnavailable"], len(pods)) - (len(pods) - healthy)

    # --- what all writes have in common --------------------------------------------------------------------
    def timestamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))

    def _read(self, kind: Kind, namespace: str, body: Json, options: Options, *, fill: bool = True) -> Json:
        """The body as an object of the kind. Unknown fields are dropped, or refused where that was asked for."""
        if not isinstance(body, dict):
            raise failures.bad_request("the object provided is unrecognized")
        if (body.get("apiVersion", kind.api_version), body.get("kind", kind.kind)) != (kind.api_version, kind.kind):
            raise failures.bad_request(
                f"the API version in the data ({body.get('apiVersion')}, {body.get('kind')}) does not match the "
                f"expected API version ({kind.api_version}, {kind.kind})"
            )
        findings = Findings()
        read = conform(copy.deepcopy(body), kind.node(self.schemas), self.schemas, findings)
        if findings.wrong and kind.custom is None:
            raise failures.bad_request(f"{kind.kind} in version {kind.version!r} cannot be handled: {findings.wrong}")
        if findings.unknown and options.is_strict:
            message = "strict decoding error: " + ", ".join(f'unknown field "{each}"' for each in findings.unknown)
            raise failures.bad_request(message)
        read = {"apiVersion": kind.api_version, "kind": kind.kind, **read}
        metadata = read.setdefault("metadata", {})
        if kind.is_namespaced and metadata.setdefault("namespace", namespace) != namespace:
            raise failures.bad_request("the namespace of the provided object does not match the namespace sent")
        wrong = findings.wrong + findings.invalid
        if fill and wrong:
            raise failures.invalid(kind.kind, str(metadata.get("name", "")), wrong)
        return read

    def _take_over(self, kind: Kind, before: Json, obj: Json, sub: str) -> Json:
        """What a write to `sub` may change; the rest is as before."""
        if sub == "status":
            after = {**copy.deepcopy(before), "status": obj.get("status", {})}
        else:
            after = copy.deepcopy(obj)
            if kind.has_status:
                after.pop("status", None)
                if "status" in before:
                    after["status"] = before["status"]
        metadata = after["metadata"]
        for server_set in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "managedFields",
                           "deletionGracePeriodSeconds", "namespace"):  # fmt: skip
            metadata.pop(server_set, None)
            if server_set in before["metadata"]:
                metadata[server_set] = copy.deepcopy(before["metadata"][server_set])
        return after

    def _born(self, obj: Json) -> Json:
        obj["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.timestamp(), "generation": 1}
        return obj

    def _store(self, kind: Kind, before: Json | None, obj: Json, manager: Manager | None, options: Options) -> Json:
        findings = Findings()
        obj = conform(with_defaults(kind, obj), kind.node(self.schemas), self.schemas, findings)
        causes = findings.wrong + findings.invalid + violations(kind, obj, before)
        if causes:
            raise failures.invalid(kind.kind, obj["metadata"]["name"], causes)
        if manager is not None:
            owners = {} if before is None else read_owners(before["metadata"])
            record_update(before, obj, manager, owners, Fields(kind.node(self.schemas), self.schemas))
            obj["metadata"]["managedFields"] = write_owners(owners, kind.api_version, self.timestamp())
        if before is not None:
            if _without_times(obj) == _without_times(before):
                return before
            if _body(obj) != _body(before):
                obj["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        if options.is_dry_run:
            return {**obj, "metadata": {"resourceVersion": "", **obj["metadata"]}}
        is_over = obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers")
        if is_over and kind.kind != "Pod":
            self.objects.put(kind, obj)
            return self.remove(kind, _name_of(obj))
        stored = self.objects.put(kind, obj)
        if kind.kind == "CustomResourceDefinition":
            self._serve(stored)
        return stored

    def _serve(self, crd: Json) -> None:
        added = of_definition(crd)
        keys = {key_of(each) for each in added}
        self._custom = [each for each in self._custom if key_of(each) not in keys] + added
        kind = self.kind("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        conditions = [
            {"type": name, "status": "True", "reason": "Done", "message": "", "lastTransitionTime": self.timestamp()}
            for name in ("NamesAccepted", "Established")
        ]
        names = crd["spec"]["names"]
        status = {"conditions": conditions, "acceptedNames": names, "storedVersions": [added[0].version]}
        if crd.get("status", {}).get("acceptedNames") != names:
            self.objects.put(kind, {**crd, "status": status})


def is_ready(pod: Json) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", ())
    )


def _name_of(obj: Json) -> Name:
    return obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")


def _only(applied: Json, sub: str) -> Json:
    """Of what was applied, what belongs to the subresource, or does not."""
    if sub == "status":
        return {name: value for name, value in applied.items() if name in ("apiVersion", "kind", "metadata", "status")}
    return {name: value for name, value in applied.items() if name != "status"}


def _without_times(obj: Json) -> Json:
    """Without what changes with every write: when each manager wrote, and the version."""
    kept = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    record = [{name: value for name, value in each.items() if name != "time"} for each in kept.get("managedFields", ())]
    return {**obj, "metadata": {**kept, "managedFields": record}}


def _body(obj: Json) -> Json:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _at(obj: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _share(value: int | str, total: int) -> int:
    """A number or a percentage, rounded up as Kubernetes does."""
    if isinstance(value, str) and value.endswith("%"):
        return -(-int(value[:-1]) * total // 100)
    return int(value)
