"""The commands on a cluster, through its API server alone: an operator that runs from an installation's objects."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.names import COMPONENT
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.objects import make_objects
from tests.cli.conftest import CommandLine
from tests.cli.test_terminal import terminal
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.running import PATIENCE_S
from tests.operator.test_objects import IMAGE, INSTALLATION, is_ready, pods_of, refusals, until
from tests.wheels import private_index, write_wheel

HANDLER = "def predict(payload):\n    print('asked for', payload)\n    return {answer}\n"


@dataclass
class Prod:
    """A cluster with an operator, and a command line whose target `prod` it is."""

    cluster: Cluster
    cli: CommandLine
    project: Path

    def run(self, *arguments: str) -> Any:
        """A command on the cluster, that works; its JSON."""
        done = self.cli.run(*arguments, "--env", "prod", "-o", "json")
        assert done.code == 0, done.stderr
        assert "on prod (cluster lab, namespace default)" in done.stderr
        return json.loads(done.stdout)

    def write(self, answer: str, **spec: Any) -> None:
        """The project, with another answer."""
        (self.project / "handler.py").write_text(HANDLER.format(answer=answer))
        api = {"name": "iris", "handler": {"path": "handler.py"}, **spec}
        (self.project / "hatchway.yaml").write_text(yaml.safe_dump([api]))

    def predict(self) -> str:
        done = self.cli.run("predict", "iris", "1", "--env", "prod")
        assert done.code == 0, done.stderr
        return done.stdout.strip()

    def edit(self, spec: Json) -> Json:
        """As `kubectl edit` does."""

        async def merge() -> Json:
            server = ApiServer(connect_to(self.cluster.url, self.cluster.token))
            try:
                return await server.merge(REALTIME_APIS, "iris", {"spec": spec}, manager="kubectl-edit")
            finally:
                await server.close()

        return asyncio.run(merge())

    def resource(self) -> Json:
        (found,) = self.cluster.all(REALTIME_APIS.group, REALTIME_APIS.plural)
        return found


@pytest.fixture
def prod(fresh: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prod]:
    with a_cluster(IMAGE) as cluster:
        asyncio.run(install(cluster))
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(cluster)))
        assert fresh.run("env", "add", "prod", "--kubeconfig", str(kubeconfig)).code == 0
        project = tmp_path / "project"
        project.mkdir()
        monkeypatch.chdir(project)
        yield Prod(cluster, fresh, project)


async def install(cluster: Cluster) -> None:
    server = ApiServer(connect_to(cluster.url, cluster.token))
    for obj in make_objects(INSTALLATION):
        await server.apply(obj)

    async def operator() -> bool:
        return any(is_ready(each) for each in await pods_of(server, "operator"))

    try:
        await until(operator)
    finally:
        await server.close()


def kubeconfig_of(cluster: Cluster) -> Json:
    return {
        "current-context": "lab",
        "clusters": [{"name": "double", "cluster": {"server": cluster.url}}],
        "users": [{"name": "ada", "user": {"token": cluster.token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "double", "user": "ada"}}],
    }


@contextmanager
def in_time() -> Iterator[Any]:
    """A loop that looks again until it breaks, or it took too long."""
    deadline = time.monotonic() + PATIENCE_S

    def looks() -> Iterator[None]:
        while time.monotonic() < deadline:
            yield
            time.sleep(0.05)  # the other side is another process
        raise AssertionError("it took too long")

    yield looks()


@pytest.mark.timeout(240)
@pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod's /tmp is its own, and the sources lie in it")
def test_an_api_is_deployed_asked_edited_rolled_back_and_deleted_by_the_commands_alone(prod: Prod) -> None:
    bounds = {"min_replicas": 1, "max_replicas": 2}
    prod.write("1", autoscaling=bounds)
    (plan,) = prod.run("deploy", "--dry-run")
    assert plan["action"] == "created"
    (first,) = prod.run("deploy")
    assert (first["status"], first["action"], first["revision"]) == ("live", "created", plan["revision"])
    assert prod.predict() == "1"
    (listed,) = prod.run("get")
    assert (listed["name"], listed["status"], listed["replicas"]["ready"]) == ("iris", "live", 1)
    assert "hatchway predict iris '{}' --env prod" in prod.cli.run("get", "iris", "--env", "prod").stdout
    assert prod.run("why", "iris")["status"] == "live"
    assert "asked for 1" in prod.cli.run("logs", "iris", "--env", "prod").stdout
    (same,) = prod.run("deploy")
    assert same["action"] == "unchanged"
    edited_by_kubectl(prod, bounds)
    verbs(prod)
    prod.write("2", autoscaling={**bounds, "max_replicas": 3})
    (second,) = prod.run("deploy")
    assert (second["action"], prod.predict()) == ("updated", "2")
    rolled_back = prod.run("rollback", "iris")
    assert (rolled_back["action"], rolled_back["revision"], prod.predict()) == ("rolled_back", first["revision"], "1")
    assert "@" in prod.run("history", "iris")[0]["by"]
    followed(prod)
    assert prod.cli.run("delete", "iris", "--env", "prod").code == 2
    assert prod.cli.run("delete", "iris", "--env", "prod", "--yes").stdout == "iris is deleted\n"
    assert prod.cluster.all(REALTIME_APIS.group, REALTIME_APIS.plural) == []
    assert refusals(prod.cluster) == []


def edited_by_kubectl(prod: Prod, bounds: dict[str, int]) -> None:
    """What kubectl has set is not taken away in silence."""
    prod.edit({"autoscaling": {"max_replicas": 5}})
    prod.write("1", autoscaling={**bounds, "max_replicas": 3})
    done = prod.cli.run("deploy", "--env", "prod")
    assert done.code == 1
    assert 'conflict with "kubectl-edit"' in done.stderr
    assert "spec.autoscaling.max_replicas" in done.stderr
    assert "--force" in done.stderr
    assert prod.resource()["spec"]["autoscaling"]["max_replicas"] == 5
    (taken,) = prod.run("deploy", "--force")
    assert (taken["action"], prod.resource()["spec"]["autoscaling"]["max_replicas"]) == ("configured", 3)


def verbs(prod: Prod) -> None:
    assert prod.cli.run("scale", "iris", "2", "--for", "10m", "--env", "prod").code == 0
    assert prod.resource()["spec"]["scaled"]["replicas"] == 2
    assert prod.run("get", "iris")["scaled"]["replicas"] == 2
    too_many = prod.cli.run("scale", "iris", "9", "--for", "10m", "--env", "prod")
    assert (too_many.code, "above autoscaling.max_replicas" in too_many.stderr) == (2, True)
    assert "scaled" not in prod.resource()["spec"]
    assert prod.cli.run("stop", "iris", "--env", "prod").code == 0
    assert prod.run("get", "iris")["status"] == "stopped"
    prod.edit({"stopped": None})
    with in_time() as looks:
        for _ in looks:
            if prod.run("get", "iris")["status"] == "live":
                break
    before = {each["id"] for each in prod.run("get", "iris")["replica_list"]}
    assert prod.run("restart", "iris")["action"] == "restarted"
    with in_time() as looks:
        for _ in looks:
            if not before & {each["id"] for each in prod.run("get", "iris")["replica_list"]}:
                break


def replace_operator(cluster: Cluster) -> None:
    """Its pod goes, and its Deployment makes another one."""
    path = "/api/v1/namespaces/default/pods"
    with httpx.Client(base_url=cluster.url, headers={"authorization": f"Bearer {cluster.token}"}) as api:
        for pod in api.get(path, params={"labelSelector": f"{COMPONENT}=operator"}).json()["items"]:
            api.delete(f"{path}/{pod['metadata']['name']}", params={"gracePeriodSeconds": "4"}).raise_for_status()


def followed(prod: Prod) -> None:
    """`logs -f` goes on with the next operator; the dashboard is carried by its command."""
    with terminal(prod.cli, "logs", "iris", "-f", "--env", "prod", COLUMNS="200") as screen:
        screen.read_until("asked for 1")
        replace_operator(prod.cluster)
        with in_time() as looks:
            for _ in looks:  # its gateway is away with it, as long as they are in one pod
                if prod.cli.run("predict", "iris", "7", "--env", "prod").code == 0:
                    break
        screen.read_until("asked for 7")
    with terminal(prod.cli, "dashboard", "--no-browser", "--env", "prod", COLUMNS="200") as screen:
        screen.read_until("until Ctrl-C")
        link = next(word for word in screen.seen.split() if "/enter?code=" in word)
        with httpx.Client(follow_redirects=True) as browser:
            assert browser.get(link).is_success
            base = link.partition("/enter")[0]
            assert [each["name"] for each in browser.get(f"{base}/v1/apis").json()] == ["iris"]
        assert httpx.get(f"{base}/v1/apis").status_code == 401


@pytest.mark.timeout(240)
@pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod's /tmp is its own, and the sources lie in it")
def test_what_the_shell_knows_travels_apart_and_dependencies_are_pinned_as_they_are_deployed(
    prod: Prod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    handler = "[__import__('hw_acme').__version__, __import__('os').environ['COLOUR']]"
    prod.write(handler)
    api = {"path": "handler.py", "env": {"COLOUR": "${COLOUR}"}, "dependencies": {"pip": "requirements.txt"}}
    (prod.project / "hatchway.yaml").write_text(yaml.safe_dump({"name": "iris", "handler": api}))
    (prod.project / "requirements.txt").write_text("hw-acme\n")
    monkeypatch.setenv("COLOUR", "hunter2")
    with private_index(tmp_path / "wheels", "jo", "tell-nobody") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://jo:tell-nobody@{address}")
        (first,) = prod.run("deploy")
        assert first["status"] == "live"
        assert json.loads(prod.predict()) == ["1.0", "hunter2"]
        assert prod.resource()["spec"]["source"]["lock"] == "hw-acme==1.0\n"
        told = json.dumps([prod.resource(), prod.run("get", "iris"), prod.run("history", "iris")])
        assert "hunter2" not in told
        assert "tell-nobody" not in told
        (prod.project / "requirements.txt").write_text("hw-acme==2.0\n")
        refused = prod.cli.run("deploy", "--env", "prod")
        assert refused.code == 1
        assert "there is no version of hw-acme==2.0" in refused.stderr
