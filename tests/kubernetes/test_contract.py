"""What we rely on in a Kubernetes API server, said over plain HTTP. The double is held to it, and so is a real one:

    HATCHWAY_TEST_CLUSTER_URL=https://... HATCHWAY_TEST_CLUSTER_TOKEN=... pytest tests/kubernetes/test_contract.py

needs a token that may do anything; every test has a namespace of its own, and removes it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import pytest

from tests.kubernetes.double import a_cluster

PATIENCE_S = 30.0
URL, TOKEN = "HATCHWAY_TEST_CLUSTER_URL", "HATCHWAY_TEST_CLUSTER_TOKEN"

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

Json = dict[str, Any]
T = TypeVar("T")


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    """A client of the server, as its administrator."""
    if os.environ.get(URL):
        headers = {"authorization": f"Bearer {os.environ[TOKEN]}"}
        with httpx.Client(base_url=os.environ[URL], headers=headers, verify=False, timeout=PATIENCE_S) as client:
            yield client
        return
    with a_cluster() as cluster:
        headers = {"authorization": f"Bearer {cluster.token}"}
        with httpx.Client(base_url=cluster.url, headers=headers, timeout=PATIENCE_S) as client:
            yield client


class Space:
    """A namespace of the server, and what can be asked there."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self.client = client
        self.name = name

    def path(self, resource: str, name: str = "") -> str:
        """`resource`: "configmaps", "apps/v1/deployments"; `name` may have a subresource."""
        *group, plural = resource.split("/")
        prefix = "/apis/" + "/".join(group) if group else "/api/v1"
        return f"{prefix}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "")

    def create(self, resource: str, body: Json, **query: str) -> httpx.Response:
        return self.client.post(self.path(resource), json=body, params=query)

    def get(self, resource: str, name: str = "", **query: str) -> httpx.Response:
        return self.client.get(self.path(resource, name), params=query)

    def read(self, resource: str, name: str) -> Json:
        return ok(self.get(resource, name))

    def patch(self, resource: str, name: str, kind: str, body: Any, **query: str) -> httpx.Response:
        headers = {"content-type": kind}
        return self.client.patch(self.path(resource, name), content=json.dumps(body), headers=headers, params=query)

    def apply(self, resource: str, name: str, body: Json, manager: str, **query: str) -> httpx.Response:
        return self.patch(resource, name, APPLY, body, fieldManager=manager, **query)

    def put(self, resource: str, name: str, body: Json) -> httpx.Response:
        return self.client.put(self.path(resource, name), json=body)

    def delete(self, resource: str, name: str, body: Json | None = None) -> httpx.Response:
        return self.client.request("DELETE", self.path(resource, name), json=body)

    @contextmanager
    def watch(self, resource: str, **query: str) -> Iterator[Iterator[Json]]:
        """Events of a watch that ends by itself after five seconds."""
        params = {"watch": "true", "timeoutSeconds": "5", **query}
        with self.client.stream("GET", self.path(resource), params=params) as answer:
            yield (json.loads(line) for line in answer.iter_lines())


@pytest.fixture
def space(server: httpx.Client) -> Iterator[Space]:
    name = f"hatchway-{secrets.token_hex(4)}"
    ok(server.post("/api/v1/namespaces", json={"metadata": {"name": name}}))
    yield Space(server, name)
    server.delete(f"/api/v1/namespaces/{name}")


def ok(answer: httpx.Response) -> Json:
    assert answer.is_success, f"{answer.status_code} {answer.text}"
    found: Json = answer.json()
    return found


def reason(answer: httpx.Response) -> tuple[int, str]:
    """The code and the stable word of a failure, which is a Status."""
    status = answer.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", answer.status_code)
    return answer.status_code, status["reason"]


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds: controllers take their time, and this suite knows nothing of them to wait on."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)
    return found


def config_map(name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", *, replicas: int = 1, image: str = "registry.k8s.io/pause:3.10") -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    }


DEPLOYMENTS = "apps/v1/deployments"


# --- creating and replacing ------------------------------------------------------------------------------------
def test_what_is_created_has_an_identity_a_version_and_defaults(space: Space) -> None:
    created = ok(space.create(DEPLOYMENTS, deployment()))
    assert {"uid", "resourceVersion", "creationTimestamp", "generation"} <= created["metadata"].keys()
    assert created["metadata"]["generation"] == 1
    assert created["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    template = created["spec"]["template"]["spec"]
    assert (template["restartPolicy"], template["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert template["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_creating_twice_is_a_conflict_with_a_reason_of_its_own(space: Space) -> None:
    ok(space.create("configmaps", config_map()))
    assert reason(space.create("configmaps", config_map())) == (409, "AlreadyExists")


def test_a_name_is_generated(space: Space) -> None:
    created = ok(space.create("configmaps", {"metadata": {"generateName": "part-"}}))
    assert created["metadata"]["name"].startswith("part-")
    assert len(created["metadata"]["name"]) > len("part-")


def test_a_deployment_whose_selector_does_not_match_is_invalid(space: Space) -> None:
    wrong = deployment()
    wrong["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert reason(space.create(DEPLOYMENTS, wrong)) == (422, "Invalid")


def test_a_selector_cannot_be_changed(space: Space) -> None:
    created = ok(space.create(DEPLOYMENTS, deployment()))
    created["spec"]["selector"]["matchLabels"] = {"app": "other"}
    created["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    del created["metadata"]["resourceVersion"]  # controllers write too
    assert reason(space.put(DEPLOYMENTS, "web", created)) == (422, "Invalid")


def test_a_mount_needs_its_volume_and_a_gpu_request_its_limit(space: Space) -> None:
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "nowhere", "mountPath": "/x"}]
    assert reason(space.create(DEPLOYMENTS, wrong)) == (422, "Invalid")
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"nvidia.com/gpu": "1"}}
    assert reason(space.create(DEPLOYMENTS, wrong)) == (422, "Invalid")


def test_replacing_what_has_changed_meanwhile_is_a_conflict(space: Space) -> None:
    read = ok(space.create("configmaps", config_map(a="1")))
    ok(space.patch("configmaps", "settings", MERGE, {"data": {"a": "2"}}))
    assert reason(space.put("configmaps", "settings", {**read, "data": {"a": "3"}})) == (409, "Conflict")
    assert space.read("configmaps", "settings")["data"] == {"a": "2"}


def test_writing_what_is_there_already_makes_no_new_version(space: Space) -> None:
    before = ok(space.create("configmaps", config_map(a="1")))["metadata"]["resourceVersion"]
    again = ok(space.patch("configmaps", "settings", MERGE, {"data": {"a": "1"}}))
    assert again["metadata"]["resourceVersion"] == before


def test_the_generation_counts_changes_of_what_is_wanted_only(space: Space) -> None:
    ok(space.create(DEPLOYMENTS, deployment()))
    labelled = ok(space.patch(DEPLOYMENTS, "web", MERGE, {"metadata": {"labels": {"team": "a"}}}))
    assert labelled["metadata"]["generation"] == 1
    scaled = ok(space.patch(DEPLOYMENTS, "web", MERGE, {"spec": {"replicas": 0}}))
    assert scaled["metadata"]["generation"] == 2


def test_a_dry_run_checks_and_keeps_nothing(space: Space) -> None:
    ok(space.create("configmaps", config_map(), dryRun="All"))
    assert reason(space.get("configmaps", "settings")) == (404, "NotFound")
    wrong = deployment()
    wrong["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert reason(space.create(DEPLOYMENTS, wrong, dryRun="All")) == (422, "Invalid")


def test_a_strict_write_refuses_unknown_fields_and_any_other_drops_them(space: Space) -> None:
    odd = deployment()
    odd["spec"]["replica"] = 3
    assert reason(space.create(DEPLOYMENTS, odd, fieldValidation="Strict")) == (400, "BadRequest")
    assert "replica" not in ok(space.create(DEPLOYMENTS, odd))["spec"]


def test_a_value_of_the_wrong_type_is_a_bad_request(space: Space) -> None:
    odd = deployment()
    odd["spec"]["replicas"] = "three"
    assert reason(space.create(DEPLOYMENTS, odd)) == (400, "BadRequest")


# --- patching --------------------------------------------------------------------------------------------------
def test_a_merge_patch_may_name_the_version_that_it_is_about(space: Space) -> None:
    version = ok(space.create("configmaps", config_map(a="1", b="1")))["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "2", "b": None}}
    assert ok(space.patch("configmaps", "settings", MERGE, patch))["data"] == {"a": "2"}
    assert reason(space.patch("configmaps", "settings", MERGE, patch)) == (409, "Conflict")


def test_a_patch_may_name_the_object_that_it_is_about(space: Space) -> None:
    uid = ok(space.create("configmaps", config_map()))["metadata"]["uid"]
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000", "labels": {"a": "1"}}}
    assert reason(space.patch("configmaps", "settings", MERGE, other)) == (409, "Conflict")
    ok(space.patch("configmaps", "settings", MERGE, {"metadata": {"uid": uid, "labels": {"a": "1"}}}))


def test_a_json_patch_is_all_or_nothing(space: Space) -> None:
    ok(space.create("configmaps", config_map(a="1")))
    add = {"op": "add", "path": "/data/b", "value": "2"}
    wrong = {"op": "test", "path": "/data/a", "value": "9"}
    assert space.patch("configmaps", "settings", JSON_PATCH, [add, wrong]).status_code == 422
    assert space.read("configmaps", "settings")["data"] == {"a": "1"}
    right = {"op": "test", "path": "/data/a", "value": "1"}
    assert ok(space.patch("configmaps", "settings", JSON_PATCH, [right, add]))["data"] == {"a": "1", "b": "2"}


def test_a_strategic_merge_finds_containers_by_their_names(space: Space) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"].append({"name": "second", "image": "registry.k8s.io/pause:3.9"})
    ok(space.create(DEPLOYMENTS, body))
    patch = {
        "spec": {"template": {"spec": {"containers": [{"name": "second", "image": "registry.k8s.io/pause:3.10"}]}}}
    }
    merged = ok(space.patch(DEPLOYMENTS, "web", STRATEGIC, patch))
    images = {each["name"]: each["image"] for each in merged["spec"]["template"]["spec"]["containers"]}
    assert images == {"main": "registry.k8s.io/pause:3.10", "second": "registry.k8s.io/pause:3.10"}


# --- server-side apply -----------------------------------------------------------------------------------------
def test_an_apply_creates_and_then_changes(space: Space) -> None:
    assert space.apply("configmaps", "settings", config_map(a="1"), "us").status_code == 201
    assert ok(space.apply("configmaps", "settings", config_map(a="2"), "us"))["data"] == {"a": "2"}


def test_an_apply_needs_a_manager(space: Space) -> None:
    assert reason(space.patch("configmaps", "settings", APPLY, config_map())) == (400, "BadRequest")


def test_what_is_not_applied_any_more_disappears_and_what_others_wrote_stays(space: Space) -> None:
    ok(space.apply("configmaps", "settings", config_map(a="1", b="1"), "us"))
    ok(space.patch("configmaps", "settings", MERGE, {"data": {"c": "1"}}))
    assert ok(space.apply("configmaps", "settings", config_map(a="1"), "us"))["data"] == {"a": "1", "c": "1"}


def test_a_field_that_two_managers_apply_stays_until_both_leave_it(space: Space) -> None:
    ok(space.apply("configmaps", "settings", config_map(a="1"), "us"))
    ok(space.apply("configmaps", "settings", config_map(a="1"), "them"))
    assert ok(space.apply("configmaps", "settings", config_map(), "us"))["data"] == {"a": "1"}
    assert not ok(space.apply("configmaps", "settings", config_map(), "them")).get("data")


def test_another_value_for_what_somebody_else_owns_is_a_conflict_that_force_wins(space: Space) -> None:
    ok(space.apply("configmaps", "settings", config_map(a="1"), "us"))
    refused = space.apply("configmaps", "settings", config_map(a="2"), "them")
    assert reason(refused) == (409, "Conflict")
    assert '"us"' in refused.json()["message"]
    assert refused.json()["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert ok(space.apply("configmaps", "settings", config_map(a="2"), "them", force="true"))["data"] == {"a": "2"}
    assert ok(space.apply("configmaps", "settings", config_map(), "us"))["data"] == {"a": "2"}


def test_an_edit_takes_a_field_from_who_applied_it(space: Space) -> None:
    ok(space.apply(DEPLOYMENTS, "web", deployment(replicas=2), "us"))
    ok(space.patch(DEPLOYMENTS, "web", MERGE, {"spec": {"replicas": 0}}))
    assert reason(space.apply(DEPLOYMENTS, "web", deployment(replicas=2), "us")) == (409, "Conflict")


def test_containers_are_applied_one_by_one(space: Space) -> None:
    ok(space.apply(DEPLOYMENTS, "web", deployment(), "us"))
    sidecar: Json = {"name": "sidecar", "image": "registry.k8s.io/pause:3.10"}
    theirs = deployment()
    theirs["spec"] = {"template": {"spec": {"containers": [sidecar]}}}
    ok(space.apply(DEPLOYMENTS, "web", theirs, "them"))
    again = ok(space.apply(DEPLOYMENTS, "web", deployment(), "us"))
    assert [each["name"] for each in again["spec"]["template"]["spec"]["containers"]] == ["main", "sidecar"]


# --- subresources ----------------------------------------------------------------------------------------------
def test_the_status_is_written_apart_from_the_rest(space: Space) -> None:
    body = {"metadata": {"name": "guard"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "none"}}}}
    guard = "policy/v1/poddisruptionbudgets"
    ok(space.create(guard, body))
    status = {"spec": {"minAvailable": 5}, "status": {"observedGeneration": 7}}
    ok(space.patch(guard, "guard/status", MERGE, status))
    found = ok(space.patch(guard, "guard", MERGE, {"status": {"observedGeneration": 9}}))
    assert found["spec"]["minAvailable"] == 1
    assert found["status"]["observedGeneration"] != 9


def test_the_scale_of_a_deployment_is_read_and_written(space: Space) -> None:
    ok(space.create(DEPLOYMENTS, deployment(replicas=0)))
    scale = space.read(DEPLOYMENTS, "web/scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 0} if scale["spec"] else {})
    scale["spec"] = {"replicas": 2}
    ok(space.put(DEPLOYMENTS, "web/scale", scale))
    assert space.read(DEPLOYMENTS, "web")["spec"]["replicas"] == 2


# --- listing and watching --------------------------------------------------------------------------------------
def test_lists_are_selected_by_labels_and_fields(space: Space) -> None:
    for name, tier in (("one", "front"), ("two", "back"), ("three", "back")):
        body = config_map(name)
        body["metadata"]["labels"] = {"tier": tier}
        ok(space.create("configmaps", body))

    def names(**query: str) -> set[str]:
        found = ok(space.get("configmaps", **query))["items"]
        return {each["metadata"]["name"] for each in found} - {"kube-root-ca.crt"}

    assert names(labelSelector="tier=back") == {"two", "three"}
    assert names(labelSelector="tier in (front, back),tier!=back") == {"one"}
    assert names(labelSelector="!tier") == set()
    assert names(fieldSelector="metadata.name=two") == {"two"}


def test_a_list_comes_in_pages_of_one_version(space: Space) -> None:
    for number in range(5):
        body = config_map(f"part-{number}")
        body["metadata"]["labels"] = {"page": "yes"}
        ok(space.create("configmaps", body))
    first = ok(space.get("configmaps", limit="3", labelSelector="page=yes"))
    assert int(first["metadata"]["resourceVersion"]) > 0
    rest = ok(
        space.get("configmaps", limit="3", labelSelector="page=yes", **{"continue": first["metadata"]["continue"]})
    )
    assert [each["metadata"]["name"] for each in first["items"] + rest["items"]] == [f"part-{n}" for n in range(5)]
    assert not rest["metadata"].get("continue")


def test_a_watch_tells_what_happened_since_a_version_and_nothing_before(space: Space) -> None:
    ok(space.create("configmaps", config_map("before")))
    since = ok(space.get("configmaps"))["metadata"]["resourceVersion"]
    ok(space.create("configmaps", config_map("after")))
    ok(space.patch("configmaps", "after", MERGE, {"data": {"a": "1"}}))
    ok(space.delete("configmaps", "after"))
    with space.watch("configmaps", resourceVersion=since) as events:
        seen = [next(events) for _ in range(3)]
    assert [each["type"] for each in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert {each["object"]["metadata"]["name"] for each in seen} == {"after"}
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in seen]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)


def test_to_a_watch_what_leaves_its_selection_is_deleted(space: Space) -> None:
    body = config_map()
    body["metadata"]["labels"] = {"stage": "in"}
    ok(space.create("configmaps", body))
    since = ok(space.get("configmaps"))["metadata"]["resourceVersion"]
    with space.watch("configmaps", resourceVersion=since, labelSelector="stage=in") as events:
        ok(space.patch("configmaps", "settings", MERGE, {"metadata": {"labels": {"stage": "out"}}}))
        assert next(events)["type"] == "DELETED"
        ok(space.patch("configmaps", "settings", MERGE, {"metadata": {"labels": {"stage": "in"}}}))
        assert next(events)["type"] == "ADDED"


def test_a_watch_is_told_of_the_version_though_nothing_of_its_own_changed(space: Space) -> None:
    """Real servers send bookmarks about once a minute, and one when a watch ends in time."""
    since = ok(space.get("configmaps"))["metadata"]["resourceVersion"]
    with space.watch(
        "configmaps", resourceVersion=since, allowWatchBookmarks="true", labelSelector="none=such"
    ) as events:
        ok(space.create("configmaps", config_map("other")))
        bookmark = next((each for each in events if each["type"] == "BOOKMARK"), None)
    assert bookmark is not None
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(since)


def test_a_watch_ends_when_its_time_is_up(space: Space) -> None:
    since = ok(space.get("configmaps"))["metadata"]["resourceVersion"]
    with space.watch("configmaps", resourceVersion=since, timeoutSeconds="1", labelSelector="none=such") as events:
        assert [each for each in events if each["type"] != "BOOKMARK"] == []


def test_a_watch_from_a_forgotten_version_is_gone(space: Space) -> None:
    with space.watch("configmaps", resourceVersion="1") as events:
        event = next(events)
    status = event["object"] if event.get("type") == "ERROR" else event  # in the stream, or instead of it
    assert (status["code"], status["reason"]) == (410, "Expired")


# --- deleting --------------------------------------------------------------------------------------------------
def test_a_finalizer_holds_a_deletion_until_it_is_taken_away(space: Space) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["hatchway.dev/test"]
    ok(space.create("configmaps", body))
    ok(space.delete("configmaps", "settings"))
    assert space.read("configmaps", "settings")["metadata"]["deletionTimestamp"]
    ok(space.patch("configmaps", "settings", MERGE, {"metadata": {"finalizers": None}}))
    assert reason(space.get("configmaps", "settings")) == (404, "NotFound")


def test_a_deletion_may_name_the_object_that_it_is_about(space: Space) -> None:
    uid = ok(space.create("configmaps", config_map()))["metadata"]["uid"]
    other = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert reason(space.delete("configmaps", "settings", other)) == (409, "Conflict")
    ok(space.delete("configmaps", "settings", {"preconditions": {"uid": uid}}))


def test_what_an_object_owns_goes_with_it(space: Space) -> None:
    owner = ok(space.create("configmaps", config_map("owner")))
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    ]
    ok(space.create("configmaps", owned))
    ok(space.delete("configmaps", "owner"))
    until(lambda: space.get("configmaps", "owned").status_code == 404)


# --- controllers -----------------------------------------------------------------------------------------------
def pods_of(space: Space, app: str = "web") -> list[Json]:
    found: list[Json] = ok(space.get("pods", labelSelector=f"app={app}"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_a_deployment_makes_pods_and_removes_them(space: Space) -> None:
    ok(space.create(DEPLOYMENTS, deployment(replicas=2)))
    until(lambda: len(pods_of(space)) == 2)
    ok(space.patch(DEPLOYMENTS, "web", MERGE, {"spec": {"replicas": 1}}))
    until(lambda: len(pods_of(space)) == 1)
    ok(space.delete(DEPLOYMENTS, "web", {"propagationPolicy": "Background"}))
    until(lambda: not pods_of(space))


def test_a_pod_whose_labels_change_is_let_go_and_replaced(space: Space) -> None:
    """How a replica that drains leaves its Deployment without being stopped."""
    ok(space.create(DEPLOYMENTS, deployment()))
    pod = until(lambda: pods_of(space))[0]["metadata"]["name"]
    ok(space.patch("pods", pod, MERGE, {"metadata": {"labels": {"app": "parted"}}}))
    until(lambda: [each["metadata"]["name"] for each in pods_of(space)] not in ([], [pod]))
    until(lambda: not space.read("pods", pod)["metadata"].get("ownerReferences"))
    assert "deletionTimestamp" not in space.read("pods", pod)["metadata"]
    space.delete("pods", pod, {"gracePeriodSeconds": 0})


def test_a_service_has_endpoint_slices_by_its_name(space: Space) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    ok(space.create("services", service))
    slices = until(
        lambda: ok(space.get("discovery.k8s.io/v1/endpointslices", labelSelector="kubernetes.io/service-name=web"))[
            "items"
        ]
    )
    assert slices[0]["addressType"] == "IPv4"


def test_an_eviction_waits_for_the_disruption_budget(space: Space) -> None:
    ok(space.create(DEPLOYMENTS, deployment()))
    budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    ok(space.create("policy/v1/poddisruptionbudgets", budget))
    pod = until(lambda: pods_of(space))[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space.name}}
    evict = space.path("pods", f"{pod}/eviction")
    assert reason(space.client.post(evict, json=eviction)) == (429, "TooManyRequests")
    ok(space.delete("policy/v1/poddisruptionbudgets", "web"))
    until(lambda: space.client.post(evict, json=eviction).is_success)


def test_a_lease_is_an_optimistic_lock(space: Space) -> None:
    lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    leases = "coordination.k8s.io/v1/leases"
    held = ok(space.create(leases, lease))
    mine, theirs = ({**held, "spec": {**held["spec"], "holderIdentity": who}} for who in ("b", "c"))
    ok(space.put(leases, "leader", mine))
    assert reason(space.put(leases, "leader", theirs)) == (409, "Conflict")


def test_a_request_of_which_half_arrives_changes_nothing(space: Space) -> None:
    made = ok(space.create("configmaps", {"metadata": {"name": "whole"}, "data": {"colour": "blue"}}))

    def half() -> Iterator[bytes]:
        yield b'{"data": null'
        raise ConnectionAbortedError("killed")

    headers = {"content-type": MERGE, "content-length": "15"}
    with pytest.raises(ConnectionAbortedError):
        space.client.patch(space.path("configmaps", "whole"), content=half(), headers=headers)
    assert space.read("configmaps", "whole") == made


def test_the_data_of_a_controller_revision_never_changes(space: Space) -> None:
    revisions = "apps/v1/controllerrevisions"
    made = ok(space.create(revisions, {"metadata": {"name": "r1"}, "data": {"files": [{"path": "a"}]}, "revision": 1}))
    assert space.put(revisions, "r1", {**made, "data": {"files": []}}).status_code == 422
    assert ok(space.put(revisions, "r1", {**made, "revision": 2}))["data"] == {"files": [{"path": "a"}]}


# --- custom resources ------------------------------------------------------------------------------------------
@pytest.fixture
def toys(space: Space) -> Iterator[str]:
    """A custom resource of this test's own, as a resource path."""
    group = f"{space.name}.example.com"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                    "share": {"x-kubernetes-int-or-string": True},
                    "config": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"made": {"type": "integer"}}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.made"},
        },
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    names = {"plural": "toys", "singular": "toy", "kind": "Toy"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"toys.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    ok(space.client.post(path, json=definition))
    until(lambda: space.get(f"{group}/v1/toys").is_success)
    yield f"{group}/v1/toys"
    space.client.delete(f"{path}/toys.{group}")


def toy(resource: str, **spec: Any) -> Json:
    return {"apiVersion": resource.rpartition("/")[0], "kind": "Toy", "metadata": {"name": "bear"}, "spec": spec}


def test_a_custom_resource_is_served_with_defaults_and_without_unknown_fields(space: Space, toys: str) -> None:
    made = ok(space.create(toys, toy(toys, size=2, share="25%", config={"any": {"thing": 1}}, unknown=1)))
    assert made["spec"] == {"size": 2, "share": "25%", "config": {"any": {"thing": 1}}, "colour": "red"}
    assert reason(space.create(toys, toy(toys, size=2, unknown=1), fieldValidation="Strict")) == (400, "BadRequest")


def test_the_schema_of_a_custom_resource_is_enforced(space: Space, toys: str) -> None:
    for wrong in ({}, {"size": 0}, {"size": "two"}, {"size": 1, "colour": "green"}, {"size": 1, "share": True}):
        assert reason(space.create(toys, toy(toys, **wrong))) == (422, "Invalid")


def test_a_custom_resource_has_status_and_scale_apart_and_its_generation_ignores_the_status(
    space: Space, toys: str
) -> None:
    ok(space.apply(toys, "bear", toy(toys, size=1), "us"))
    ok(space.apply(toys, "bear/status", {**toy(toys), "spec": {"size": 9}, "status": {"made": 1}}, "us"))
    found = space.read(toys, "bear")
    assert (found["spec"]["size"], found["status"], found["metadata"]["generation"]) == (1, {"made": 1}, 1)
    assert space.read(toys, "bear/scale")["status"]["replicas"] == 1
    ok(space.patch(toys, "bear/scale", MERGE, {"spec": {"replicas": 4}}))
    assert space.read(toys, "bear")["spec"]["size"] == 4


def test_the_columns_of_a_custom_resource_are_printed(space: Space, toys: str) -> None:
    ok(space.create(toys, toy(toys, size=3)))
    headers = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = ok(space.client.get(space.path(toys), headers=headers))
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["bear", 3]


# --- access ----------------------------------------------------------------------------------------------------
def test_an_unknown_token_is_refused(space: Space) -> None:
    answer = space.client.get(space.path("pods"), headers={"authorization": "Bearer nobody"})
    assert reason(answer) == (401, "Unauthorized")


def test_one_may_ask_what_one_may_do(space: Space) -> None:
    asked = {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": space.name}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": asked}
    answer = ok(space.client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review))
    assert answer["status"]["allowed"]
