"""The gateways of a cluster as objects: Envoys of their own, which no operator has to live for. Pure.

A pod holds Envoy, and beside it the activator and the agent (hatchway/gateway_pod), which begin before Envoy and end
after it. All three share a folder.
"""

from __future__ import annotations

from hatchway.gateway.bootstrap import envoy_arguments
from hatchway.gateway_pod.files import ACTIVATOR, BOOTSTRAP, FOLDERS, HELD, REPLICAS
from hatchway.kubernetes.names import (
    AGENT_PORT,
    CONFIGURATION_PORT,
    CONTROL_PORT,
    DATA_PORT,
    GATEWAY_PORT,
    PROBES_PORT,
    common_labels,
)
from hatchway.kubernetes.pieces import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    ZONES_AND_NODES,
    disruption_budget,
    from_anywhere,
    from_pods,
    in_namespace,
    network_policy,
    pods_of,
    pull_secrets,
    spread,
)
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Installation
from hatchway.operator.secrets import GATEWAY_TLS, TLS_DIR, TLS_MOUNT, tls_volume, told_of

GATEWAY, CONFIGURATION = "hatchway-gateway", "hatchway-configuration"
FOLDER = "/hatchway/gateway"

REPLICAS_MIN, REPLICAS_MAX = 2, 10
CPU_PERCENT = 70  # of what is requested, when another gateway is started
WORKERS = 2  # threads of each Envoy
LET_GO_S = 10  # how long a gateway that ends goes on as before, until load balancers have heard of it
DRAIN_S = 300  # and for how long its requests may go on after that

_GATEWAY_PODS, _OPERATOR_PODS, _REPLICA_PODS = pods_of("gateway"), pods_of("operator"), pods_of("replica")


def make_gateway_objects(installation: Installation) -> list[Json]:
    """In the order in which they are to be applied."""
    made = (
        _configuration_service(),
        _service(installation),
        *_policies(),
        _disruption_budget(),
        _deployment(installation),
        _scaler(),
    )
    return [in_namespace(obj, installation.namespace) for obj in made]


def operators_address(namespace: str) -> str:
    """Where Envoys come for their configuration."""
    return f"{CONFIGURATION}.{namespace}.svc:{CONFIGURATION_PORT}"


def gateway_url(namespace: str) -> str:
    """Where clients inside of the cluster reach all APIs."""
    return f"http://{GATEWAY}.{namespace}.svc"


def _metadata(name: str) -> Json:
    return {"name": name, "labels": common_labels("gateway")}


# --- network ---------------------------------------------------------------------------------------------------
def _service(installation: Installation) -> Json:
    spec: Json = {
        "type": installation.service_type,
        "selector": _GATEWAY_PODS,
        "ports": [{"name": "http", "port": 80, "targetPort": GATEWAY_PORT, "protocol": "TCP"}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(GATEWAY), "spec": spec}


def _configuration_service() -> Json:
    """All operators, whichever of them leads."""
    port = {"name": "ads", "port": CONFIGURATION_PORT, "targetPort": CONFIGURATION_PORT, "protocol": "TCP"}
    # One that does not lead is not ready, and serves this all the same. It listens when it knows everything.
    spec = {
        "type": "ClusterIP",
        "selector": _OPERATOR_PODS,
        "ports": [port],
        "publishNotReadyAddresses": True,
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(CONFIGURATION), "spec": spec}


def _policies() -> list[Json]:
    """Policies add up: these are beside those of operators and replicas."""
    return [
        network_policy(
            _metadata(GATEWAY),
            _GATEWAY_PODS,
            [
                from_anywhere(GATEWAY_PORT, PROBES_PORT),  # clients and Prometheus, from wherever they are
                from_pods(_OPERATOR_PODS, AGENT_PORT),
            ],
        ),
        network_policy(
            _metadata(CONFIGURATION),
            _OPERATOR_PODS,
            [from_pods(_GATEWAY_PODS, CONFIGURATION_PORT)],
        ),
        # Replicas trust what the gateway says in headers, so only it may come.
        network_policy(
            _metadata("hatchway-gateway-to-replicas"),
            _REPLICA_PODS,
            [from_pods(_GATEWAY_PODS, DATA_PORT, CONTROL_PORT)],
        ),
    ]


# --- how many --------------------------------------------------------------------------------------------------
def _disruption_budget() -> Json:
    """Nodes are drained one gateway at a time."""
    return disruption_budget(_metadata(GATEWAY), _GATEWAY_PODS, max_unavailable=1)


def _scaler() -> Json:
    """By CPU: what a gateway does costs the same for all APIs. It goes down slowly, for each that ends cuts streams."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(GATEWAY),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            "minReplicas": REPLICAS_MIN,
            "maxReplicas": REPLICAS_MAX,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT},
                    },
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    }


# --- the pods --------------------------------------------------------------------------------------------------
def _deployment(installation: Installation) -> Json:
    """Without a number of replicas: that is the autoscaler's, and applying this again leaves it alone."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(GATEWAY),
        "spec": {
            "selector": {"matchLabels": _GATEWAY_PODS},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": common_labels("gateway"), "annotations": told_of(installation.keys.gateway)},
                "spec": _pod_spec(installation),
            },
        },
    }


def _pod_spec(installation: Installation) -> Json:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LET_GO_S + DRAIN_S,
        "securityContext": POD_SECURITY,
        # In this order: Envoy starts when the agent has written what it is started with.
        "initContainers": [_agent(installation), _activator(installation)],
        "containers": [_envoy(installation)],
        "volumes": [
            {"name": "gateway", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            tls_volume(GATEWAY_TLS),
        ],
        "topologySpreadConstraints": [spread(key, _GATEWAY_PODS) for key in ZONES_AND_NODES],
        **pull_secrets(installation.pods.pull_secrets),
    }


def _container(installation: Installation, name: str, command: list[str], **fields: object) -> Json:
    return {
        "name": name,
        "image": installation.gateway_image,
        "imagePullPolicy": installation.pods.pull_policy,
        "command": command,
        "workingDir": FOLDER,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "gateway", "mountPath": FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},
            TLS_MOUNT,
        ],
        **fields,
    }


def _envoy(installation: Installation) -> Json:
    """It is asked for nothing: what it does the agent knows. It listens when it has everything."""
    program = f"{installation.pods.package_dir}/envoy/_bin/envoy"
    drain = [installation.pods.python, "-m", "hatchway.gateway_pod", "drain", FOLDER, str(LET_GO_S)]
    return _container(
        installation,
        "envoy",
        [program, *envoy_arguments(f"./{BOOTSTRAP}", workers=WORKERS)],
        ports=[{"name": "http", "containerPort": GATEWAY_PORT, "protocol": "TCP"}],
        lifecycle={"preStop": {"exec": {"command": drain}}},
        resources=dict(installation.gateway_resources),
    )


def _agent(installation: Installation) -> Json:
    """Its readiness is the pod's: it asks Envoy."""
    variables = [
        {"name": "HATCHWAY_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "HATCHWAY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HATCHWAY_OPERATORS", "value": operators_address(installation.namespace)},
    ]
    return _container(
        installation,
        "agent",
        [installation.pods.python, "-m", "hatchway.gateway_pod", "agent", FOLDER, TLS_DIR],
        restartPolicy="Always",
        env=variables,
        ports=[
            {"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"},
            {"name": "probes", "containerPort": PROBES_PORT, "protocol": "TCP"},
        ],
        startupProbe=_probe("/alive", period_s=1, failures=60),
        readinessProbe=_probe("/ready", period_s=2, failures=3),
        livenessProbe=_probe("/alive", period_s=10, failures=6),
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}},
    )


def _activator(installation: Installation) -> Json:
    """It holds requests for APIs without a replica; it ends after Envoy, so none of them is cut."""
    return _container(
        installation,
        "activator",
        [
            *(installation.pods.python, "-P", "-m", "hatchway.gateway.activator"),
            *(f"{FOLDER}/{ACTIVATOR}", f"{FOLDER}/{HELD}"),
            *(f"{FOLDER}/{REPLICAS}", f"{FOLDER}/{FOLDERS}"),
        ],
        restartPolicy="Always",
        resources={"requests": {"cpu": "20m", "memory": "64Mi"}},
    )


def _probe(path: str, *, period_s: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "probes"},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
