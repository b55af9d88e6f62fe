"""No container that we make has a privilege, whichever settings it has, and every kind of pod is behind a policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hatchway.backends.kubernetes.manifests import make_deployment
from hatchway.kubernetes.names import COMPONENT
from hatchway.kubernetes.pieces import USER_ID
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Installation
from hatchway.operator.objects import make_objects
from tests.backends.kubernetes.builders import a_pod_workload, pod_settings
from tests.operator.builders import an_installation

INSTALLATIONS = [an_installation(), an_installation(bucket="s3://models", bucket_secret="keys")]


def pods_of(objects: list[Json]) -> Iterator[Json]:
    """The spec of every pod that is made of them."""
    for obj in objects:
        if "template" in obj.get("spec", {}):
            yield obj["spec"]["template"]["spec"]


def everything() -> Iterator[Json]:
    for installation in INSTALLATIONS:
        yield from make_objects(installation)
    settings = pod_settings(cache_claim="cache", index_secret="index", spot=("pool", "spot"))
    for compute in ({}, {"gpu": 1, "mem": "1Gi"}):
        yield make_deployment(a_pod_workload(compute=compute), 1, settings)


@pytest.mark.parametrize("pod", list(pods_of(list(everything()))))
def test_no_pod_has_a_privilege(pod: Json) -> None:
    """What the Pod Security Standard "restricted" asks for, and a read-only root."""
    assert not {"hostNetwork", "hostPID", "hostIPC", "ephemeralContainers"} & pod.keys()
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, USER_ID)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    allowed = {"name", "emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"}
    assert {key for volume in pod["volumes"] for key in volume} <= allowed
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    assert containers
    for container in containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "procMount"} & context.keys()
        assert not [port for port in container.get("ports", ()) if "hostPort" in port]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"} or container["name"] == "replica"


def test_the_word_privileged_is_nowhere() -> None:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name, each in value.items():
                yield name
                yield from walk(each)
        elif isinstance(value, list):
            for each in value:
                yield from walk(each)

    names = set(walk(list(everything())))
    assert "allowPrivilegeEscalation" in names
    assert not names & {"privileged", "hostPath", "hostPort"}


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_every_kind_of_pod_is_behind_a_policy(installation: Installation) -> None:
    objects = make_objects(installation)
    behind = {
        each["spec"]["podSelector"]["matchLabels"][COMPONENT] for each in objects if each["kind"] == "NetworkPolicy"
    }
    made = {each["metadata"]["labels"][COMPONENT] for each in objects if each["kind"] == "Deployment"}
    assert behind == {*made, "replica"}
