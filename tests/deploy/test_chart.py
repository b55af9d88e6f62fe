"""The Helm chart, rendered by Helm itself: the same objects as `hatchway cluster install` applies.

Helm comes as a library. It runs in a process of its own, for it brings a runtime that tests need not live with.
"""

from __future__ import annotations

import importlib.util
import json
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.kubernetes.certificates import Certified, is_due, names_of, service_names
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import PODS_VARIABLE, Installation
from hatchway.operator.objects import make_objects
from hatchway.operator.secrets import CERTIFICATE, GATEWAY_TLS, OPERATOR_TLS, read_certified, read_secret, told_of
from tests.kubernetes.published import validate
from tests.kubernetes.test_certificates import context, shake
from tests.operator.builders import some_keys

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "hatchway"
IMAGE = "registry/hatchway:1"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None, reason="helm-python-sdk has no wheel for this machine"
)


def helm(expression: str, values: Json) -> Any:
    """What an expression makes of the chart's path and values."""
    code = f"import json, sys, helm_python as helm; path, values = sys.argv[1], json.loads(sys.argv[2]); {expression}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(CHART), json.dumps(values)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def render(values: Json) -> list[Json]:
    expression = "print(json.dumps(helm.Chart.load(path).render(values, name='release', namespace='models')))"
    rendered = helm(expression, values)["hatchway/templates/objects.yaml"]
    return [each for each in yaml.safe_load_all(rendered) if each]


def comparable(obj: Json) -> Json:
    """Without what is drawn anew each time, and with the settings of replicas as what they say."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "annotations"}
    plain: Json = json.loads(json.dumps({**obj, "metadata": metadata}))
    if obj["kind"] == "Secret":
        plain["data"] = sorted(obj["data"])
    if obj["kind"] == "Deployment":
        plain["spec"]["template"]["metadata"].pop("annotations")
        for container in plain["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", ()):
                if variable["name"] == PODS_VARIABLE:
                    variable["value"] = json.loads(variable["value"])
    return plain


PODS = {"image": IMAGE}
EVERYTHING_ELSE = {"gpu_resource": "amd.com/gpu", "node_selector": {"pool": "models"}, "cache_claim": "cache"}


@pytest.mark.parametrize(
    ("values", "installation"),
    [
        ({"image": IMAGE}, {}),
        (
            {
                "image": IMAGE,
                "imagePullSecrets": ["registry"],
                "python": "/opt/bin/python",
                "gateway": {"image": "gateway:1", "serviceType": "LoadBalancer"},
                "operator": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
                "storage": {"size": "5Gi", "className": "fast"},
                "podMonitor": {"create": True},
                "replicas": {
                    "image": "replica:1",
                    "gpuResource": "amd.com/gpu",
                    "nodeSelector": {"pool": "models"},
                    "cacheClaim": "cache",
                },
            },
            {
                "gateway_image": "gateway:1",
                "service_type": "LoadBalancer",
                "operator_resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "storage": "5Gi",
                "storage_class": "fast",
                "pod_monitor": True,
                "pods": {
                    "image": "replica:1",
                    "python": "/opt/bin/python",
                    "pull_secrets": ("registry",),
                    **EVERYTHING_ELSE,
                },
            },
        ),
        (
            {"image": IMAGE, "bucket": {"url": "s3://models", "secret": "keys"}},
            {"bucket": "s3://models", "bucket_secret": "keys"},
        ),
    ],
    ids=["defaults", "everything", "bucket"],
)
def test_it_makes_what_the_command_applies(values: Json, installation: Json) -> None:
    fields = {"operator_image": IMAGE, "gateway_image": IMAGE, **installation}
    pods = ReplicaPods(**fields.pop("pods", PODS))
    made = make_objects(Installation(namespace="models", pods=pods, keys=some_keys("models"), **fields))
    rendered = render(values)
    for obj in rendered:
        if obj["kind"] != "PodMonitor":  # Kubernetes publishes no schema of it
            validate(obj)
    assert [comparable(each) for each in rendered] == [comparable(each) for each in made]


def test_its_certificates_are_good_for_a_handshake_and_known_to_pods(tmp_path: Path) -> None:
    rendered = {(each["kind"], each["metadata"]["name"]): each for each in render({"image": IMAGE})}
    told = {name: read_secret(rendered["Secret", name]) for name in (OPERATOR_TLS, GATEWAY_TLS)}
    authority = Certified(told[OPERATOR_TLS]["ca.crt"], "")
    operator, gateway = (read_certified(each, "tls") for each in told.values())
    assert operator is not None
    assert gateway is not None
    assert set(names_of(operator.certificate)) == set(service_names("hatchway-operator", "models"))
    assert not is_due(operator.certificate, time.time())
    server = context(operator, authority, tmp_path, server=True)
    client = context(gateway, authority, tmp_path, server=False)
    assert "hatchway-gateway" in shake(server, client, "hatchway-operator.models.svc")
    pod = rendered["Deployment", "hatchway-operator"]["spec"]["template"]
    assert pod["metadata"]["annotations"][CERTIFICATE] == told_of(operator)[CERTIFICATE]
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, client, "hatchway-operator.others.svc")


def test_secrets_and_definitions_may_be_somebody_elses() -> None:
    kinds = {each["kind"] for each in render({"image": IMAGE, "secrets": {"create": False}, "crds": {"create": False}})}
    assert not kinds & {"Secret", "CustomResourceDefinition"}
    (definition,) = [each for each in render({"image": IMAGE}) if each["kind"] == "CustomResourceDefinition"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "where the cluster pulls Hatchway from"),
        ({"imag": "x:1"}, "imag"),
        ({"image": "x:1", "gateway": {"serviceType": "Balancer"}}, "serviceType"),
    ],
)
def test_wrong_values_are_refused_by_name(values: Json, says: str) -> None:
    expression = (
        "\ntry: helm.Chart.load(path).render(values, name='release', namespace='models')"
        "\nexcept helm.HelmError as exc: print(json.dumps(str(exc)))"
    )
    assert says in helm(expression, values)


def test_helm_finds_nothing_to_say_against_it() -> None:
    found = helm("print(json.dumps(helm.lint(path, values, strict=True)['messages']))", {"image": IMAGE})
    assert [each["error"] for each in found] == ["icon is recommended"]
