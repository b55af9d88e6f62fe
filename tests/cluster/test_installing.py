"""`hatchway cluster install` and `upgrade` against an API server; nobody runs the pods, so they never get ready."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from hatchway.cluster.choices import RECORD
from hatchway.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SERVICES, Json
from tests.cluster.running import STORAGE_CLASS, Admin, check_what_was_sent, edit, everything, object_of, put
from tests.kubernetes.double import Cluster
from tests.operator.builders import IMAGE

HERE = "hatchway"
OPERATOR = "hatchway-operator"


def install(admin: Admin, *arguments: str) -> str:
    """What it says, until it gives up to wait."""
    done = admin.run("install", "--image", IMAGE, "--timeout", "0", *arguments)
    assert "not ready after" in done.stderr, done
    assert done.code == 1
    return done.stderr


def test_everything_that_is_printed_is_what_is_applied(admin: Admin, cluster: Cluster) -> None:
    printed = admin.run("install", "--image", IMAGE, "--dry-run", "-o", "yaml")
    objects = list(yaml.safe_load_all(printed.stdout))
    assert cluster.requests[1:] == []  # but for the storage class of the fixture
    install(admin)
    applied = [each.document() for each in cluster.requests if each.content_type == "application/apply-patch+yaml"][1:]
    assert [each["metadata"]["name"] for each in objects] == [each["metadata"]["name"] for each in applied]
    shown, sent = ([each for each in several if each["kind"] != "Secret"] for several in (objects, applied))
    without_certificates(*(each for each in (*shown, *sent) if each["kind"] == "Deployment"))
    assert shown == sent
    check_what_was_sent(cluster)


def without_certificates(*deployments: Json) -> None:
    for each in deployments:
        each["spec"]["template"]["metadata"].pop("annotations")


def test_twice_changes_nothing(admin: Admin, cluster: Cluster) -> None:
    install(admin, "--service-type", "NodePort")
    before = versions(cluster)
    says = install(admin)
    assert "is made" not in says
    assert "->" not in says
    assert versions(cluster) == before
    assert object_of(cluster, SERVICES, HERE, "hatchway-gateway")["spec"]["type"] == "NodePort"


def versions(cluster: Cluster) -> dict[str, str]:
    kinds = ("secrets", "services", "deployments", "configmaps", "roles", "customresourcedefinitions")
    return {
        f"{key[1]}/{name[1]}": obj["metadata"]["resourceVersion"] if key[1] != "deployments" else str(obj["spec"])
        for key, name, obj in cluster.call(lambda: list(cluster.api.objects.everything()))
        if key[1] in kinds
    }


def test_an_upgrade_names_what_changes_and_keeps_the_rest(admin: Admin, cluster: Cluster) -> None:
    assert "there is no Hatchway in namespace hatchway" in admin.run("upgrade").stderr
    install(admin, "--pull-secret", "registry")
    token = object_of(cluster, SERVICES, HERE, OPERATOR)["metadata"]["uid"]
    says = admin.run("upgrade", "--image", "registry/hatchway:2", "--timeout", "0").stderr
    assert (
        f"deployment/{OPERATOR} spec.template.spec.containers[operator].image: {IMAGE} -> registry/hatchway:2" in says
    )
    assert object_of(cluster, SERVICES, HERE, OPERATOR)["metadata"]["uid"] == token
    pods = object_of(cluster, DEPLOYMENTS, HERE, OPERATOR)["spec"]["template"]["spec"]
    assert pods["imagePullSecrets"] == [{"name": "registry"}]
    assert not [line for line in says.splitlines() if "secret" in line]


def test_what_others_changed_is_theirs_unless_forced(admin: Admin, cluster: Cluster) -> None:
    install(admin)
    edit(cluster, SERVICES, HERE, "hatchway-gateway", {"spec": {"type": "LoadBalancer"}})
    done = admin.run("install", "--timeout", "0")
    assert done.code == 1
    assert "service/hatchway-gateway: somebody else has changed" in done.stderr
    assert 'with "kubectl-edit": spec.type' in done.stderr
    assert "--force" in done.stderr
    assert "spec.type: LoadBalancer -> ClusterIP" in install(admin, "--force")


def test_what_is_no_part_any_more_is_removed(admin: Admin, cluster: Cluster) -> None:
    install(admin)
    record = object_of(cluster, CONFIG_MAPS, HERE, RECORD)
    former = [*json.loads(record["data"]["parts.json"]), "Service/former", "PersistentVolumeClaim/former"]
    edit(cluster, CONFIG_MAPS, HERE, RECORD, {"data": {"parts.json": json.dumps(former)}})
    service = object_of(cluster, SERVICES, HERE, "hatchway-gateway")
    put(cluster, {**bare(service), "metadata": {"name": "former", "namespace": HERE}})
    says = install(admin, "--force")
    assert "service/former is removed" in says
    assert f"services/{HERE}/former" not in everything(cluster)


def bare(obj: Json) -> Json:
    spec = {name: obj["spec"][name] for name in ("ports", "selector")}
    return {"apiVersion": "v1", "kind": "Service", "spec": spec}


def test_nothing_is_made_when_something_stands_in_the_way(admin: Admin, cluster: Cluster, tmp_path: Path) -> None:
    before = everything(cluster)
    nobody = Admin(cluster, tmp_path, cluster.access.token("default", "nobody"))
    done = nobody.install()
    assert done.code == 1
    assert "you may not look into hatchway; what is missing: get configmaps in hatchway" in done.stderr
    unknown = Admin(cluster, tmp_path, "unknown").install()
    assert "Unauthorized" in unknown.stderr
    assert "kubectl auth whoami" in unknown.stderr
    done = admin.install("--storage-class", "slow")
    assert done.code == 2
    assert "--storage-class slow: there is no such storage class" in done.stderr
    assert "the cluster has: fast" in done.stderr
    done = admin.install("--storage-class", "fast", "--pod-monitor")
    assert "--pod-monitor: this cluster knows no PodMonitors" in done.stderr
    put(cluster, {**STORAGE_CLASS, "metadata": {"name": "fast", "annotations": {}}})
    assert "no default storage class: name one with --storage-class" in admin.install().stderr
    assert "--image is missing" in admin.run("install").stderr
    assert "Context 'nowhere' not found" in admin.run("install", "--context", "nowhere").stderr
    assert everything(cluster) == before


def test_a_cluster_that_does_not_answer_is_named(admin: Admin, cluster: Cluster) -> None:
    cluster.fault(code=500, times=100)
    done = admin.run("status")
    assert done.code == 1
    assert "cluster prod" in done.stderr


def test_somebody_elses_namespace_stays_theirs(admin: Admin, cluster: Cluster) -> None:
    says = install(admin, "--namespace", "default")
    assert "namespace/default" not in says
    assert "labels" not in object_of(cluster, NAMESPACES, "", "default")["metadata"]


def test_what_helm_installed_is_left_to_helm(admin: Admin, cluster: Cluster) -> None:
    install(admin)
    annotations = {"metadata": {"annotations": {"meta.helm.sh/release-name": "models"}}}
    edit(cluster, DEPLOYMENTS, HERE, OPERATOR, annotations)
    for command in ("install", "upgrade"):
        done = admin.run(command)
        assert "Helm has installed this, as release models" in done.stderr
        assert "helm upgrade models" in done.stderr
    assert "helm uninstall models" in admin.run("uninstall", "--yes").stderr
    assert admin.run("status", "-o", "json").json["installed_by"] == "helm"
