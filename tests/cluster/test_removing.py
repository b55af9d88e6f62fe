"""`hatchway cluster uninstall` against an API server; nobody runs the pods."""

from __future__ import annotations

import pytest

from hatchway.kubernetes.resources import CONFIG_MAPS, REALTIME_APIS, Json
from tests.cli.test_terminal import terminal
from tests.cluster.running import Admin, everything, put
from tests.cluster.test_installing import HERE, install
from tests.kubernetes.double import Cluster


def an_api(namespace: str = HERE, **metadata: object) -> Json:
    return {
        "apiVersion": REALTIME_APIS.api_version,
        "kind": REALTIME_APIS.kind,
        "metadata": {"name": "iris", "namespace": namespace, **metadata},
        "spec": {"handler": {"path": "handler.py"}},
    }


def a_config_map(namespace: str) -> Json:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": namespace},
    }


@pytest.fixture
def before(cluster: Cluster) -> set[str]:
    return everything(cluster)


def test_nothing_is_left(admin: Admin, cluster: Cluster, before: set[str]) -> None:
    install(admin)
    done = admin.run("uninstall", "--yes")
    assert done.code == 0, done
    assert done.stdout == "removed from namespace hatchway of cluster prod\n"
    assert everything(cluster) == before
    assert "nothing to remove" in admin.run("uninstall", "--yes").stdout


def test_it_refuses_while_apis_are_deployed_and_lets_them_finish_when_told(
    admin: Admin, cluster: Cluster, before: set[str]
) -> None:
    install(admin)
    put(cluster, an_api(finalizers=["hatchway.dev/replicas"]))
    there = everything(cluster)
    done = admin.run("uninstall", "--yes")
    assert done.code == 1
    assert "APIs are deployed: iris" in done.stderr
    assert "--delete-apis" in done.stderr
    assert everything(cluster) == there
    # No operator runs that could let them finish.
    done = admin.run("uninstall", "--yes", "--delete-apis", "--timeout", "0.3")
    assert done.code == 0, done
    assert "iris: no operator has let it finish within 0 s" in done.stderr
    assert everything(cluster) == before


def test_what_others_use_stays(admin: Admin, cluster: Cluster) -> None:
    install(admin)
    put(cluster, an_api("default"), a_config_map(HERE))
    done = admin.run("uninstall", "--yes")
    assert "realtimeapis.hatchway.dev stays: default use it" in done.stderr
    assert "namespace/hatchway stays: it holds configmap/theirs" in done.stderr
    assert {"realtimeapis/default/iris", f"configmaps/{HERE}/theirs"} <= everything(cluster)
    assert not [each for each in everything(cluster) if "hatchway-" in each]


def test_in_a_script_it_goes_on_only_when_told(admin: Admin, cluster: Cluster) -> None:
    install(admin)
    there = everything(cluster)
    done = admin.run("uninstall")
    assert done.code == 2
    assert "nobody can be asked whether to remove Hatchway from namespace hatchway of cluster prod" in done.stderr
    assert everything(cluster) == there


@pytest.mark.parametrize(("answer", "code"), [("prod", 0), ("staging", 2)])
def test_on_a_terminal_it_asks_for_the_name_of_the_cluster(
    admin: Admin, cluster: Cluster, before: set[str], answer: str, code: int
) -> None:
    install(admin)
    with terminal(admin.line, "cluster", "uninstall") as screen:
        screen.read_until("to go on:")
        assert "namespace hatchway of cluster prod" in screen.seen
        assert cluster.url in screen.seen
        screen.type(answer + "\n")
        assert screen.read_to_the_end() == code
    assert (everything(cluster) == before) == (code == 0)
