"""Which kinds the server serves: a table of built-in ones, and those that CustomResourceDefinitions add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.double.schemas import Json, Schemas


@dataclass(frozen=True)
class Kind:
    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True
    has_status: bool = False
    custom: Json | None = field(default=None, hash=False, compare=False)  # version of the CustomResourceDefinition

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As messages name it: deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def node(self, schemas: Schemas) -> Json:
        if self.custom is not None:
            return schemas.of_custom(self.custom["schema"]["openAPIV3Schema"])
        return schemas.of(self.group, self.version, self.kind)

    @property
    def scale_paths(self) -> Json | None:
        """Where a scale subresource finds its numbers."""
        if self.custom is not None:
            found: Json | None = self.custom.get("subresources", {}).get("scale")
            return found
        if self.plural in ("deployments", "replicasets"):
            return {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        return None


def _builtin(group: str, version: str, plural: str, kind: str, **more: Any) -> Kind:
    return Kind(group, version, plural, kind, **more)


BUILTIN = (
    _builtin("", "v1", "namespaces", "Namespace", is_namespaced=False, has_status=True),
    _builtin("", "v1", "nodes", "Node", is_namespaced=False, has_status=True),
    _builtin("", "v1", "pods", "Pod", has_status=True),
    _builtin("", "v1", "services", "Service", has_status=True),
    _builtin("", "v1", "configmaps", "ConfigMap"),
    _builtin("", "v1", "secrets", "Secret"),
    _builtin("", "v1", "serviceaccounts", "ServiceAccount"),
    _builtin("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", has_status=True),
    _builtin("", "v1", "events", "Event"),
    _builtin("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _builtin("apps", "v1", "deployments", "Deployment", has_status=True),
    _builtin("apps", "v1", "replicasets", "ReplicaSet", has_status=True),
    _builtin("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", has_status=True),
    _builtin("coordination.k8s.io", "v1", "leases", "Lease"),
    _builtin("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    _builtin("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    _builtin("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", has_status=True),
    _builtin("storage.k8s.io", "v1", "storageclasses", "StorageClass", is_namespaced=False),
    _builtin("rbac.authorization.k8s.io", "v1", "roles", "Role"),
    _builtin("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", is_namespaced=False),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", is_namespaced=False),
    _builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
             is_namespaced=False, has_status=True),
)  # fmt: skip


def of_definition(crd: Json) -> list[Kind]:
    """The kinds that a CustomResourceDefinition adds."""
    spec = crd["spec"]
    return [
        Kind(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            is_namespaced=spec["scope"] == "Namespaced",
            has_status="status" in version.get("subresources", {}),
            custom=version,
        )
        for version in spec["versions"]
        if version.get("served")
    ]
