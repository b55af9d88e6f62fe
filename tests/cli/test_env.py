"""`hatchway env`, and the commands on another target: an operator at an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hatchway import AsyncClient, Client, targets
from hatchway.errors import AccessDenied, EngineUnavailable, NotFound
from hatchway.targets import Address, Cluster
from tests.cli.conftest import CommandLine
from tests.cli.test_terminal import terminal
from tests.control_api.addresses import AtAddress, at_address
from tests.control_api.memory_plane import an_api


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[AtAddress]:
    with at_address(tmp_path / "operator") as found:
        yield found


@pytest.fixture
def prod(fresh: CommandLine, operator: AtAddress) -> CommandLine:
    """A home that knows the operator as `prod`, and where nothing was ever deployed."""
    done = fresh.run("env", "add", "prod", "--url", operator.url, "--token", "-", stdin=operator.token + "\n")
    assert (done.code, done.stdout) == (0, f"prod is {operator.url}\n")
    return fresh


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    contexts = [
        {"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "models"}},
        {"name": "home", "context": {"cluster": "c", "user": "u"}},
    ]
    clusters = [{"name": "c", "cluster": {"server": "https://c.test"}}]
    users = [{"name": "u", "user": {"token": "t"}}]
    document = {"current-context": "lab", "contexts": contexts, "clusters": clusters, "users": users}
    path.write_text(yaml.safe_dump(document))
    return path


def known(cli: CommandLine) -> targets.Targets:
    return targets.read(cli.settings.targets_file)


# --- env -------------------------------------------------------------------------------------------------------
def test_a_cluster_is_kept_as_the_kubeconfig_has_it_now(fresh: CommandLine, kubeconfig: Path) -> None:
    """The file, the context and the namespace: none of them changes with the shell."""
    fresh.variables["KUBECONFIG"] = str(kubeconfig)
    done = fresh.run("env", "add", "prod")
    assert (done.code, done.stdout) == (0, "prod is cluster lab, namespace models\n")
    assert fresh.run("env", "add", "other", "--context", "home", "--namespace", "ml").code == 0
    del fresh.variables["KUBECONFIG"]
    assert fresh.run("env", "add", "file", "--kubeconfig", str(kubeconfig)).code == 0
    assert known(fresh).known == {
        "prod": Cluster("prod", "lab", "models", str(kubeconfig)),
        "other": Cluster("other", "home", "ml", str(kubeconfig)),
        "file": Cluster("file", "lab", "models", str(kubeconfig)),
    }
    missing = fresh.run("env", "add", "more", "--context", "gone", "--kubeconfig", str(kubeconfig))
    assert (missing.code, "'gone'" in missing.stderr) == (2, True)


def test_targets_are_listed_used_and_removed(prod: CommandLine, operator: AtAddress) -> None:
    assert prod.run("env", "use", "prod").stdout == f"commands act on prod: {operator.url}\n"
    listed = prod.run("env", "list", "-o", "json")
    assert [(each["name"], each["current"]) for each in listed.json] == [("local", False), ("prod", True)]
    assert operator.token not in listed.stdout + prod.run("env", "list").stdout
    prod.variables["HATCHWAY_ENV"] = "local"
    assert "not in this shell" in prod.run("env", "use", "prod").stderr
    assert prod.run("env", "list").stdout.splitlines()[1].split() == ["*", "local", "this", "machine"]
    removed = prod.run("env", "remove", "prod")
    assert "act on this machine again" in removed.stderr
    assert known(prod) == targets.Targets()
    assert prod.run("env", "use", "prod").code == prod.run("env", "remove", "prod").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["local"],
        ["Prod"],
        ["prod", "--url", "nowhere"],
        ["prod", "--url", "https://x.test"],  # no token, and nobody to ask
        ["prod", "--url", "https://x.test", "--token", "a b"],
        ["prod", "--url", "https://x.test", "--namespace", "models"],
        ["prod", "--token", "abc"],
    ],
)
def test_what_cannot_be_a_target_is_not_kept(fresh: CommandLine, arguments: list[str]) -> None:
    assert fresh.run("env", "add", *arguments).code == 2
    assert known(fresh) == targets.Targets()


def test_names_of_targets_are_completed(prod: CommandLine) -> None:
    for words in ("hatchway env use ", "hatchway get --env "):
        prod.variables |= {"_HATCHWAY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
        assert prod.run().stdout.split() == ["local", "prod"]


# --- commands elsewhere ----------------------------------------------------------------------------------------
def test_a_deploy_sends_contents_and_names_the_target(
    prod: CommandLine, operator: AtAddress, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = prod.run("deploy", "--env", "prod", "-o", "json")
    assert done.code == 0, done.stderr
    assert {result["status"] for result in done.json} == {"live"}
    assert f"on prod ({operator.url})" in done.stderr
    assert [each.split()[0] for each in operator.plane.uploads] == ["stream"]
    assert "@" in operator.plane.asked_by[0]
    assert not prod.settings.database.exists()  # no engine of this machine was started
    prod.variables["HATCHWAY_ENV"] = "prod"
    listed = prod.run("get", "-o", "json")
    assert [api["name"] for api in listed.json] == ["iris", "recommendation-engine"]
    assert prod.run("status", "-o", "json").json["apis"] == {"live": 2}
    assert prod.run("logs", "iris").code == prod.run("rollback", "iris").code == 0
    assert prod.run("get", "--env", "local", "-o", "json").json == []
    link = prod.run("dashboard", "--no-browser", "-o", "json")
    assert link.json["url"] == f"{operator.url}/enter?code=abc"


def test_a_script_deletes_elsewhere_only_when_it_says_so(prod: CommandLine, operator: AtAddress) -> None:
    operator.running.change(an_api("iris"))
    refused = prod.run("delete", "iris", "--env", "prod")
    assert (refused.code, "on prod" in refused.stderr, "--yes" in refused.stderr) == (2, True, True)
    assert prod.run("delete", "iris", "--env", "prod", "--yes").stdout == "iris is deleted\n"
    assert operator.plane.apis == {}


def test_delete_asks_with_the_name_of_the_cluster(prod: CommandLine, operator: AtAddress) -> None:
    operator.running.change(an_api("iris"))
    with terminal(prod, "delete", "iris", "--env", "prod", COLUMNS="200") as screen:
        screen.read_until(f"delete iris on prod ({operator.url})? [y/N]")
        screen.type("y\n")
        assert screen.read_to_the_end() == 0


@pytest.mark.parametrize("verb", ["up", "down"])
def test_what_is_of_this_machine_alone_says_so(prod: CommandLine, verb: str) -> None:
    assert prod.run("env", "use", "prod").code == 0
    done = prod.run(verb)
    assert (done.code, "the target is prod" in done.stderr) == (2, True)
    assert f"hatchway {verb} --env local" in done.stderr
    assert "the target is prod" in prod.run("dev", "--env", "prod").stderr


def test_a_target_that_is_not_there_or_says_nothing_is_named(prod: CommandLine, operator: AtAddress) -> None:
    assert prod.run("get", "--env", "prd").code == 3
    with targets.changing(prod.settings.targets_file) as draft:
        draft.targets = draft.targets.with_target(Address("wrong", operator.url, "x" * 43))
        draft.targets = draft.targets.with_target(Address("gone", "http://127.0.0.1:9", "x" * 43))
    assert "token is missing or wrong" in prod.run("get", "--env", "wrong").stderr
    gone = prod.run("get", "--env", "gone")
    assert (gone.code, "gone (http://127.0.0.1:9) does not answer" in gone.stderr) == (1, True)


# --- from Python -----------------------------------------------------------------------------------------------
async def test_clients_act_on_the_same_targets(
    prod: CommandLine, operator: AtAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in prod.variables.items():
        monkeypatch.setenv(name, value)
    operator.running.change(an_api("iris"))
    async with AsyncClient(env="prod") as client:
        assert [api.name for api in await client.list()] == ["iris"]
    assert prod.run("env", "use", "prod").code == 0
    async with AsyncClient() as client:
        assert (await client.get("iris")).status == "live"
    with targets.changing(prod.settings.targets_file) as draft:
        draft.targets = draft.targets.with_target(Address("wrong", operator.url, "x" * 43))
    async with AsyncClient(env="wrong") as client:
        with pytest.raises(AccessDenied):
            await client.list()
    with pytest.raises(NotFound), Client(env="prd"):
        pass
    with Client(env="local") as here, pytest.raises(EngineUnavailable, match="not running"):
        here.list()
