"""What has to be in a cluster before the first API: the objects of the operator, as to be applied. Pure."""

from __future__ import annotations

from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.names import (
    CONFIGURATION_PORT,
    CONTROL_PORT,
    FILES_PORT,
    common_labels,
)
from hatchway.kubernetes.pieces import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    disruption_budget,
    from_pods,
    in_namespace,
    network_policy,
    pods_of,
    pull_secrets,
    spread,
)
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.control_objects import (
    CONTAINER_PORT,
    INGRESS,
    RULE,
    TOKENS_MOUNT,
    TOKENS_VOLUME,
    VARIABLES,
    make_control_service,
)
from hatchway.operator.gateway_objects import gateway_url, make_gateway_objects
from hatchway.operator.installation import PODS_VARIABLE, Installation, write_pods
from hatchway.operator.leadership import NAME as LEASE
from hatchway.operator.pod_monitor import make_pod_monitors
from hatchway.operator.secrets import (
    FILES_TOKEN,
    OPERATOR_SECRET,
    OPERATOR_TLS,
    TLS_DIR,
    TLS_MOUNT,
    make_secrets,
    tls_volume,
    told_of,
)

OPERATOR = "hatchway-operator"
HOME, RUNTIME, BLOBS = "/hatchway/home", "/hatchway/runtime", "/hatchway/blobs"
GRACE_S = 30  # to write what it has not yet


def make_objects(installation: Installation) -> list[Json]:
    """In the order in which they are to be applied."""
    return [
        realtime_api_definition(),
        *(
            in_namespace(obj, installation.namespace)
            for obj in (
                _service_account(),
                _role(),
                _role_binding(installation.namespace),
                *make_secrets(installation.keys),
                *([] if installation.bucket else [_claim(installation)]),
                make_control_service(),
                _service(OPERATOR, "files", FILES_PORT, FILES_PORT, "ClusterIP"),
                _operator_policy(),
                _replica_policy(),
                _disruption_budget(),
                _deployment(installation),
                *make_pod_monitors(installation),
            )
        ),
        *make_gateway_objects(installation),
    ]


def files_url(namespace: str) -> str:
    """Where replicas find the operator."""
    return f"http://{OPERATOR}.{namespace}.svc:{FILES_PORT}"


def _metadata(name: str) -> Json:
    return {"name": name, "labels": common_labels("operator")}


_OPERATOR_PODS, _REPLICA_PODS = pods_of("operator"), pods_of("replica")


# --- rights ----------------------------------------------------------------------------------------------------
def _service_account() -> Json:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(OPERATOR)}


def _role() -> Json:
    """What the operator does, and nothing else: in its namespace, on the kinds that it makes and follows."""

    def rule(group: str, resources: list[str], verbs: str) -> Json:
        return {"apiGroups": [group], "resources": resources, "verbs": verbs.split()}

    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(OPERATOR),
        "rules": [
            rule(REALTIME_APIS.group, [REALTIME_APIS.plural], "list watch patch"),
            rule(REALTIME_APIS.group, [f"{REALTIME_APIS.plural}/status"], "patch"),
            RULE,
            rule("apps", ["deployments"], "get list watch create patch delete"),
            rule("policy", ["poddisruptionbudgets"], "create patch delete"),
            rule("", ["pods"], "get list watch patch delete"),
            rule("", ["pods/log"], "get"),
            # It reads those with values of variables, which deploys name; rights cannot tell them from others.
            rule("", ["secrets"], "get create patch delete"),
            rule("", ["configmaps"], "get list create update delete"),
            rule("apps", ["controllerrevisions"], "get list create delete"),
            rule("coordination.k8s.io", ["leases"], "create"),
            {**rule("coordination.k8s.io", ["leases"], "get update"), "resourceNames": [LEASE]},
        ],
    }


def _role_binding(namespace: str) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(OPERATOR),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": OPERATOR},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}],
    }


# --- network ---------------------------------------------------------------------------------------------------
def _service(name: str, port_name: str, port: int, target: int, type: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name),
        "spec": {
            "type": type,
            "selector": _OPERATOR_PODS,
            "ports": [{"name": port_name, "port": port, "targetPort": target, "protocol": "TCP"}],
        },
    }


def _replica_policy() -> Json:
    """The operator asks them how they are; requests come from gateways alone."""
    return network_policy(_metadata("hatchway-replicas"), _REPLICA_PODS, [from_pods(_OPERATOR_PODS, CONTROL_PORT)])


def _operator_policy() -> Json:
    """Files for replicas, and the control API. `kubectl port-forward` is not held by policies."""
    return network_policy(_metadata(OPERATOR), _OPERATOR_PODS, [INGRESS, from_pods(_REPLICA_PODS, FILES_PORT)])


# --- the operator ----------------------------------------------------------------------------------------------
def _claim(installation: Installation) -> Json:
    spec: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": installation.storage}},
    }
    if installation.storage_class:
        spec["storageClassName"] = installation.storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _metadata(OPERATOR), "spec": spec}


def _blob_volumes(installation: Installation) -> list[Json]:
    """Of the operator's own home nothing has to be kept."""
    return [] if installation.bucket else [{"name": "blobs", "persistentVolumeClaim": {"claimName": OPERATOR}}]


def _disruption_budget() -> Json:
    """Nodes are drained one operator at a time."""
    return disruption_budget(_metadata(OPERATOR), _OPERATOR_PODS, max_unavailable=1)


def _deployment(installation: Installation) -> Json:
    """Two pods with a bucket: one leads, the next one stands by. A volume is held by one node, and so by one pod."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(OPERATOR),
        "spec": {
            "replicas": 2 if installation.bucket else 1,
            "strategy": rolling if installation.bucket else {"type": "Recreate"},
            "selector": {"matchLabels": _OPERATOR_PODS},
            "template": {
                "metadata": {"labels": common_labels("operator"), "annotations": told_of(installation.keys.operator)},
                "spec": {
                    "serviceAccountName": OPERATOR,
                    **pull_secrets(installation.pods.pull_secrets),
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": GRACE_S,
                    "topologySpreadConstraints": [spread("kubernetes.io/hostname", _OPERATOR_PODS)],
                    "securityContext": POD_SECURITY,
                    "containers": [_operator_container(installation)],
                    "volumes": [
                        *_blob_volumes(installation),
                        {"name": "home", "emptyDir": {}},
                        {"name": "runtime", "emptyDir": {"medium": "Memory"}},
                        {"name": "tmp", "emptyDir": {}},
                        tls_volume(OPERATOR_TLS),
                        TOKENS_VOLUME,
                    ],
                },
            },
        },
    }


def _operator_container(installation: Installation) -> Json:
    variables = {
        "HATCHWAY_HOME": HOME,
        "XDG_RUNTIME_DIR": RUNTIME,
        "HATCHWAY_HOST": "0.0.0.0",
        "HATCHWAY_GATEWAY_URL": gateway_url(installation.namespace),
        "HATCHWAY_TLS": TLS_DIR,
        "HATCHWAY_FILES_URL": files_url(installation.namespace),
        PODS_VARIABLE: write_pods(installation.pods),
        **VARIABLES,
        "HATCHWAY_BLOBS": installation.bucket or BLOBS,
    }
    token = {"secretKeyRef": {"name": OPERATOR_SECRET, "key": FILES_TOKEN}}
    return {
        "name": "operator",
        "image": installation.operator_image,
        "imagePullPolicy": installation.pods.pull_policy,
        "command": [installation.pods.python, "-m", "hatchway.operator"],
        "env": [
            *({"name": name, "value": value} for name, value in variables.items()),
            {"name": "HATCHWAY_FILES_TOKEN", "valueFrom": token},
        ],
        **_bucket_keys(installation),
        "ports": [
            {"name": "configuration", "containerPort": CONFIGURATION_PORT, "protocol": "TCP"},
            {"name": "files", "containerPort": FILES_PORT, "protocol": "TCP"},
            CONTAINER_PORT,
        ],
        "startupProbe": _probe("/alive", failures=120),
        # When it leads, and has adopted what there is.
        "readinessProbe": _probe("/ready", failures=3),
        "livenessProbe": _probe("/alive", failures=30),
        "resources": dict(installation.operator_resources),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            *([] if installation.bucket else [{"name": "blobs", "mountPath": BLOBS}]),
            {"name": "home", "mountPath": HOME},
            {"name": "runtime", "mountPath": RUNTIME},
            {"name": "tmp", "mountPath": "/tmp"},
            TLS_MOUNT,
            TOKENS_MOUNT,
        ],
    }


def _bucket_keys(installation: Installation) -> Json:
    secret = installation.bucket_secret
    return {"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}


def _probe(path: str, *, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "files"},
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
