"""A revision as a Deployment and a Secret."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from hatchway.backends.kubernetes.manifests import grace_s, make_deployment, make_disruption_budget, make_secret
from hatchway.contract import Launch
from hatchway.kubernetes.resources import Json
from tests.backends.kubernetes.builders import a_pod_workload, pod_settings
from tests.kubernetes.published import validate

OWNER = {"apiVersion": "hatchway.dev/v1alpha1", "kind": "RealtimeAPI", "metadata": {"name": "iris", "uid": "u-1"}}


def pod_of(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]
    return found


def replica_of(deployment: Json) -> Json:
    (found,) = pod_of(deployment)["containers"]
    return dict(found)


def told(secret: Json, key: str) -> str:
    return b64decode(secret["data"][key]).decode()


EVERYTHING = pod_settings(
    pull_secrets=("registry",),
    node_selector={"pool": "models"},
    tolerations=({"key": "models", "operator": "Exists"},),
    spot=("example.com/cheap", "yes"),
    cache_claim="cache",
    index_secret="index",
)
PLACED = {
    "gpu": 1,
    "gpu_resource": "amd.com/gpu",
    "node_selector": {"pool": "vision", "gen": "3"},
    "tolerations": [
        {"key": "gone", "effect": "NoExecute", "value": "x", "toleration_seconds": 9},
        {"operator": "Exists"},
    ],
    "spot": True,
}


@pytest.mark.parametrize(
    ("settings", "compute"),
    [
        (pod_settings(), {}),
        (pod_settings(pre_stop_s=0), {"cpu": 0.2, "mem": "512Mi"}),
        (EVERYTHING, {"cpu": 4, "mem": "8Gi", "gpu": 2}),
        (EVERYTHING, PLACED),
        (pod_settings(), PLACED),
    ],
)
def test_every_published_kubernetes_takes_them(settings: Any, compute: Json) -> None:
    handler = {"path": "handler.py", "secrets": {"TOKEN": "payments/token"}}
    workload = a_pod_workload(compute=compute, env={"KEY": "secret"}, handler=handler)
    validate(make_deployment(workload, 3, settings, owner=OWNER))
    validate(make_secret(workload, settings, owner=OWNER))
    validate(make_disruption_budget(workload, owner=OWNER))


def test_no_pod_has_any_privilege_or_token() -> None:
    pod = pod_of(make_deployment(a_pod_workload(), 1, pod_settings()))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))


def test_compute_is_what_the_container_asks_for() -> None:
    workload = a_pod_workload(compute={"cpu": 0.5, "mem": "512Mi", "gpu": 1})
    resources = replica_of(make_deployment(workload, 1, pod_settings(gpu_resource="amd.com/gpu")))["resources"]
    memory = str(512 * 2**20)
    assert resources["requests"] == {"cpu": "500m", "memory": memory, "amd.com/gpu": "1"}
    assert resources["limits"] == {"memory": memory, "amd.com/gpu": "1"}  # cores are never throttled


def test_memory_that_is_not_declared_is_not_limited() -> None:
    assert replica_of(make_deployment(a_pod_workload(), 1, pod_settings()))["resources"] == {
        "requests": {"cpu": "1000m"}
    }


def test_a_gpu_is_reached_past_the_taint_of_its_nodes() -> None:
    def keys(compute: Json) -> set[str]:
        pod = pod_of(make_deployment(a_pod_workload(compute=compute), 1, pod_settings()))
        return {each["key"] for each in pod["tolerations"]}

    assert keys({"gpu": 1}) - keys({}) == {"nvidia.com/gpu"}


def test_a_replica_goes_where_the_installation_and_the_api_say() -> None:
    pod = pod_of(make_deployment(a_pod_workload(compute=PLACED), 1, EVERYTHING))
    assert pod["nodeSelector"] == {"pool": "vision", "gen": "3"}
    assert {"key": "models", "operator": "Exists"} in pod["tolerations"]
    gone = {"key": "gone", "operator": "Equal", "value": "x", "effect": "NoExecute", "tolerationSeconds": 9}
    assert pod["tolerations"][-2:] == [gone, {"operator": "Exists"}]
    assert replica_of(make_deployment(a_pod_workload(compute=PLACED), 1, EVERYTHING))["resources"]["limits"] == {
        "amd.com/gpu": "1"
    }


def test_spot_nodes_are_preferred_by_those_who_ask_and_others_taken_where_there_are_none() -> None:
    pod = pod_of(make_deployment(a_pod_workload(compute={"spot": True}), 1, EVERYTHING))
    affinity = pod["affinity"]["nodeAffinity"]
    assert list(affinity) == ["preferredDuringSchedulingIgnoredDuringExecution"]  # and never required
    (terms,) = affinity.values()
    labels = [each["preference"]["matchExpressions"][0]["key"] for each in terms]
    assert labels[:2] == ["example.com/cheap", "karpenter.sh/capacity-type"]
    assert set(labels) <= {each.get("key") for each in pod["tolerations"]}
    assert "affinity" not in pod_of(make_deployment(a_pod_workload(), 1, EVERYTHING))


def test_a_secret_is_named_and_nothing_of_it_is_written() -> None:
    workload = a_pod_workload(handler={"path": "handler.py", "secrets": {"TOKEN": "payments/token"}})
    variables = {each["name"]: each for each in replica_of(make_deployment(workload, 1, pod_settings()))["env"]}
    assert variables["TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "payments", "key": "token"}}
    assert not any("TOKEN" in key for key in make_secret(workload, pod_settings())["data"])


def test_packages_and_the_project_are_in_a_cache_that_only_the_preparing_container_writes() -> None:
    for settings, volume in (
        (pod_settings(), {"emptyDir": {}}),
        (EVERYTHING, {"persistentVolumeClaim": {"claimName": "cache"}}),
    ):
        pod = pod_of(make_deployment(a_pod_workload(), 1, settings))
        assert {"name": "cache", **volume} in pod["volumes"]
        (prepare,), (replica,) = pod["initContainers"], pod["containers"]
        mounts = [next(each for each in of["volumeMounts"] if each["name"] == "cache") for of in (prepare, replica)]
        assert [each.get("readOnly", False) for each in mounts] == [False, True]
    # Where packages come from is known to what installs them alone.
    assert prepare["envFrom"] == [{"secretRef": {"name": "index", "optional": True}}]
    assert "envFrom" not in replica
    assert "told" not in [each["name"] for each in replica["volumeMounts"]]


def test_a_pod_may_take_as_long_as_its_requests() -> None:
    workload = a_pod_workload(update_strategy={"drain_timeout": "90s"})
    deployment = make_deployment(workload, 1, pod_settings(pre_stop_s=7))
    assert pod_of(deployment)["terminationGracePeriodSeconds"] == grace_s(workload, pod_settings(pre_stop_s=7)) == 102
    assert replica_of(deployment)["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}


def test_the_users_variables_are_only_in_the_secret_and_win() -> None:
    workload = a_pod_workload(env={"TOKEN": "s3cret", "OMP_NUM_THREADS": "7"})
    deployment = make_deployment(workload, 1, pod_settings())
    assert "s3cret" not in json.dumps(deployment)
    variables = {each["name"]: each for each in replica_of(deployment)["env"]}
    reference = variables["OMP_NUM_THREADS"]["valueFrom"]["secretKeyRef"]
    assert told(make_secret(workload, pod_settings()), reference["key"]) == "7"
    assert variables["MKL_NUM_THREADS"]["value"] == "1"


def test_the_launch_says_what_the_yaml_says() -> None:
    workload = a_pod_workload(handler={"path": "handler.py", "max_concurrency": 3, "config": {"a": 1}})
    launch = Launch.from_json(told(make_secret(workload, pod_settings()), "launch.json"))
    assert (launch.path, launch.max_concurrency, launch.config) == ("handler.py", 3, {"a": 1})
    assert (launch.data_socket, launch.control_socket) == (":8080", ":8081")
    assert not launch.samples  # nobody would listen


def test_only_the_number_of_replicas_differs_between_calls() -> None:
    first, second = (make_deployment(a_pod_workload(), count, pod_settings()) for count in (1, 2))
    second["spec"]["replicas"] = 1
    assert first == second


def test_they_go_with_the_api_that_they_belong_to() -> None:
    made = make_deployment(a_pod_workload(), 1, pod_settings(), owner=OWNER)
    assert [each["uid"] for each in made["metadata"]["ownerReferences"]] == ["u-1"]
