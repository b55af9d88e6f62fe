"""A revision as objects of a cluster: a Deployment, a PodDisruptionBudget, a Secret with what pods are told. Pure."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hatchway.backends import Workload
from hatchway.backends.kubernetes.files import reading_token
from hatchway.backends.kubernetes.spot import prefer_spot, tolerate_spot
from hatchway.backends.launches import ALLOCATOR_VARIABLES, THREAD_VARIABLES, Places, cpu_threads, make_launch_at
from hatchway.kubernetes.names import (
    CONTROL_PORT,
    DATA_PORT,
    SERVING,
    YES,
    replica_labels,
    revision_name,
    serving_selector,
)
from hatchway.kubernetes.pieces import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    ZONES_AND_NODES,
    disruption_budget,
    pull_secrets,
    spread,
)
from hatchway.kubernetes.resources import Json
from hatchway.pod.order import LAUNCH_KEY, File, Order, Packages
from hatchway.spec.api import Toleration

# In a replica's containers.
RUN_DIR = "/hatchway/run"  # written by `prepare`: the project, how to start
TOLD_DIR = "/hatchway/told"  # the revision's Secret
CACHE_DIR = "/hatchway/cache"  # likewise: contents of projects, Python environments; the node's, or the pod's own
TERMINATION_LOG = "/dev/termination-log"

# After SIGTERM a replica finishes what it has; a handler may have just begun. Then it says goodbye.
PARTING_S = 5.0
GONE_NODE_S = 30  # how long a replica counts as running on a node that does not answer; the default is 5 minutes


@dataclass(frozen=True, kw_only=True)
class ReplicaPods:
    """What an installation says of all replicas.

    image:            with Python, our packages and `hatchway.replica`; see `python` and `package_dir`.
    pre_stop_s:       how long a pod that is deleted serves on, until all gateways know. Counts into the grace period.
    gpu_resource:     what `compute.gpu` asks for.
    spot:             a label of spot nodes, beside those that clouds give them.
    cache_claim:      a volume that all replicas can mount, to keep contents and Python environments in; None: each
                      pod has its own.
    index_secret:     a Secret, if there is one of that name, whose keys are variables for uv: where packages come from,
                      with credentials.
    """

    image: str
    python: str = "/usr/local/bin/python3"
    package_dir: str = "/usr/local/lib/python3.11/site-packages"
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    pre_stop_s: int = 5
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    spot: tuple[str, str] | None = None
    cache_claim: str | None = None
    index_secret: str = "hatchway-index"


@dataclass(frozen=True, kw_only=True)
class PodSettings(ReplicaPods):
    """With where pods get projects' files: files_url, "http://HOST:PORT", which files_token opens."""

    files_url: str
    files_token: str = field(repr=False)


def make_secret(workload: Workload, settings: PodSettings, *, owner: Json | None = None) -> Json:
    """What a revision's pods are told: how to run it, its environment variables, where its files are."""
    launch = make_launch_at(
        # `prepare` fills in what differs between pods.
        Places(
            replica_id="",
            project_dir="",
            data_socket=f":{DATA_PORT}",
            control_socket=f":{CONTROL_PORT}",
            last_words_path="",
            has_monitor=False,
        ),
        workload,
        server_packages="",
        asgi_packages=None,
    )
    content = {
        LAUNCH_KEY: launch.to_json().encode(),
        **_order(workload, settings).to_texts(),
        **{_ENV + name: value.encode() for name, value in workload.env.items()},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(workload, owner),
        "type": "hatchway.dev/revision",
        "data": {name: b64encode(value).decode() for name, value in content.items()},
    }


def _order(workload: Workload, settings: PodSettings) -> Order:
    dependencies, interpreter = workload.spec.handler.dependencies, workload.interpreter
    return Order(
        url=settings.files_url,
        token=reading_token(settings.files_token),
        files=[File(file.path, file.sha256, file.size, bool(file.mode & 0o111)) for file in workload.files],
        packages=Packages(
            python=interpreter.version,
            pip=dependencies.pip,
            pyproject=dependencies.pyproject,
            lock=workload.lock,
            frozen=interpreter.packages,
            local=interpreter.local,
            variables=workload.build_env,
        ),
    )


def make_disruption_budget(workload: Workload, *, owner: Json | None = None) -> Json:
    """Nodes are drained without taking more than a quarter of a revision at a time; of few replicas, one."""
    return disruption_budget(
        _metadata(workload, owner), serving_selector(workload.api, workload.revision), max_unavailable="25%"
    )


def make_deployment(workload: Workload, replicas: int, settings: PodSettings, *, owner: Json | None = None) -> Json:
    """A revision with so many replicas. Its template never changes: another one is another revision."""
    selector = serving_selector(workload.api, workload.revision)
    labels = {**replica_labels(workload.api, workload.revision), SERVING: YES}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(workload, owner),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            # The controller says when an update has failed; Kubernetes would only say that it takes long.
            "progressDeadlineSeconds": 2**31 - 1,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec(workload, settings)},
        },
    }


def _metadata(workload: Workload, owner: Json | None) -> Json:
    metadata: Json = {
        "name": revision_name(workload.api, workload.revision),
        "labels": replica_labels(workload.api, workload.revision),
    }
    if owner is not None:
        parts = {name: owner["metadata"][name] for name in ("name", "uid")}
        metadata["ownerReferences"] = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **parts}]
    return metadata


def _pod_spec(workload: Workload, settings: PodSettings) -> Json:
    serving = serving_selector(workload.api, workload.revision)
    spec: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": grace_s(workload, settings),
        "initContainers": [_prepare_container(settings)],
        "containers": [_replica_container(workload, settings)],
        "volumes": [
            {"name": "run", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "cache", **_cache(settings)},
            {"name": "told", "secret": {"secretName": revision_name(workload.api, workload.revision)}},
        ],
        "tolerations": _tolerations(workload, settings),
        "topologySpreadConstraints": [spread(key, serving) for key in ZONES_AND_NODES],
        **pull_secrets(settings.pull_secrets),
    }
    selector = {**settings.node_selector, **workload.spec.compute.node_selector}
    if selector:
        spec["nodeSelector"] = selector
    if workload.spec.compute.spot:
        spec["affinity"] = {"nodeAffinity": prefer_spot(settings.spot)}
    return spec


def _cache(settings: PodSettings) -> Json:
    if settings.cache_claim is None:
        return {"emptyDir": {}}
    return {"persistentVolumeClaim": {"claimName": settings.cache_claim}}


def grace_s(workload: Workload, settings: PodSettings) -> int:
    """How long a pod that is deleted may take: for gateways to hear of it, for its requests, for its goodbye."""
    return math.ceil(settings.pre_stop_s + workload.spec.update_strategy.drain_timeout + PARTING_S)


# --- containers ------------------------------------------------------------------------------------------------
_RUN: Json = {"name": "run", "mountPath": RUN_DIR}
_TMP: Json = {"name": "tmp", "mountPath": "/tmp"}
_CACHE: Json = {"name": "cache", "mountPath": CACHE_DIR}
_TOLD: Json = {"name": "told", "mountPath": TOLD_DIR, "readOnly": True}


def _prepare_container(settings: PodSettings) -> Json:
    """Fetches the project, and sees to the Python that runs it."""
    return {
        "name": "prepare",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": [settings.python, f"{settings.package_dir}/hatchway/pod/__main__.py"],
        "args": [TOLD_DIR, RUN_DIR, CACHE_DIR, TERMINATION_LOG],
        "env": [
            _from_field("HATCHWAY_POD_NAME", "metadata.name"),
            _from_field("HATCHWAY_POD_IP", "status.podIP"),
            {"name": "HOME", "value": "/tmp"},  # for what builds packages
        ],
        "envFrom": [{"secretRef": {"name": settings.index_secret, "optional": True}}],
        "terminationMessagePath": TERMINATION_LOG,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [_RUN, _TMP, _CACHE, _TOLD],
        # As the replica's requests are the pod's, this only has to be something: quotas ask for it.
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }


def _replica_container(workload: Workload, settings: PodSettings) -> Json:
    container: Json = {
        "name": "replica",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": [settings.python, "-I", "-S", f"{settings.package_dir}/hatchway/pod/start.py"],
        "args": [RUN_DIR],
        "workingDir": RUN_DIR,
        "env": _variables(workload),
        "ports": [
            {"name": "data", "containerPort": DATA_PORT, "protocol": "TCP"},
            {"name": "control", "containerPort": CONTROL_PORT, "protocol": "TCP"},
        ],
        # The control port answers while the handler loads: whoever does not answer there at all is gone or stuck.
        "startupProbe": _probe("/live", period_s=1, failures=120),
        "livenessProbe": _probe("/live", period_s=10, failures=6),
        "readinessProbe": _probe("/ready", period_s=1, failures=1),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [_RUN, _TMP, {**_CACHE, "readOnly": True}],
        "resources": _resources(workload, settings),
    }
    if settings.pre_stop_s:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": settings.pre_stop_s}}}
    return container


_ENV = "env."  # of a key in the Secret


def _variables(workload: Workload) -> list[Json]:
    """What fits this replica, then the user's own, which win and may be secrets."""
    fitting = dict.fromkeys(sorted(THREAD_VARIABLES), str(cpu_threads(workload)))
    base = {"TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", **ALLOCATOR_VARIABLES, **fitting}
    own, secrets = revision_name(workload.api, workload.revision), workload.spec.handler.secrets
    return [
        *({"name": name, "value": value} for name, value in base.items() if name not in {**workload.env, **secrets}),
        *(_from_secret(name, own, _ENV + name) for name in sorted(workload.env)),
        *(_from_secret(name, *reference.split("/")) for name, reference in sorted(secrets.items())),
    ]


def _from_secret(name: str, secret: str, key: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _resources(workload: Workload, settings: PodSettings) -> Json:
    """Cores are a share and not a limit: throttling would cost latency where a neighbour is idle."""
    compute = workload.spec.compute
    requests: Json = {"cpu": f"{math.ceil(compute.cpu * 1000)}m"}
    limits: Json = {}
    if compute.mem is not None:
        requests["memory"] = limits["memory"] = str(compute.mem)
    if compute.gpu:
        resource = _gpu_resource(workload, settings)
        requests[resource] = limits[resource] = str(compute.gpu)
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


def _probe(path: str, *, period_s: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "control"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5 if period_s > 1 else 1,
        "failureThreshold": failures,
    }


def _from_field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


# --- where pods go ---------------------------------------------------------------------------------------------


def _tolerations(workload: Workload, settings: PodSettings) -> list[Json]:
    found: list[Json] = [
        {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": GONE_NODE_S}
        for trouble in ("not-ready", "unreachable")
    ]  # fmt: skip
    if workload.spec.compute.gpu:  # nodes with GPUs keep others away
        found.append({"key": _gpu_resource(workload, settings), "operator": "Exists", "effect": "NoSchedule"})
    if workload.spec.compute.spot:
        found += tolerate_spot(settings.spot)
    return [
        *found,
        *(dict(each) for each in settings.tolerations),
        *map(_toleration, workload.spec.compute.tolerations),
    ]


def _gpu_resource(workload: Workload, settings: PodSettings) -> str:
    return workload.spec.compute.gpu_resource or settings.gpu_resource


def _toleration(toleration: Toleration) -> Json:
    written = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in written.items() if value is not None}
