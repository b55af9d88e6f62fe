"""Projects that bring packages of their own, as custom resources: real pods, real uv, a private index."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.resources import PODS, REALTIME_APIS, Json
from hatchway.operator.variables import make_variables_secret, variables_key
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.backends.kubernetes.running import IMAGE
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.running import PATIENCE_S, TOKEN, Running, is_done, running
from tests.wheels import private_index, write_wheel

HANDLER = "import hw_acme\ndef predict(payload): return hw_acme.__version__\n"
SECRET = "tell-nobody"


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwo"))
    environ = {"HATCHWAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder), "HATCHWAY_GATEWAY_PORT": "0"}
    made = Settings.from_environment(environ)
    made.prepare()
    yield made
    end_all(made.home_hash, grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster(IMAGE) as cluster:
        yield cluster


def a_secret(name: str, values: Mapping[str, str]) -> Json:
    data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


async def deploy(
    on: Running,
    name: str,
    files: Mapping[str, str],
    *,
    packages: Sequence[str] = (),
    lock: str | None = None,
    replicas: int = 1,
    **handler: object,
) -> None:
    source = await on.upload(files)
    source["interpreter"]["packages"] = list(packages)
    source["lock"] = lock
    scaling = {"min_replicas": replicas}
    spec = {"handler": {"path": "handler.py", **handler}, "autoscaling": scaling, "source": source}
    await on.edit(name, {"spec": spec})


def log_of(cluster: Cluster, api: str) -> str:
    pods = [each["metadata"]["name"] for each in cluster.all("", "pods") if each["metadata"]["name"].startswith(api)]
    found = cluster.call(lambda: [cluster.kubelet.log("default", pod, "replica") for pod in pods])
    return "\n".join(line for log in found if log is not None for line in log.lines)


async def answer(on: Running, name: str) -> str:
    return (await on.gateway.post(f"/{name}", json=1)).text


@pytest.mark.timeout(300)
async def test_apis_with_conflicting_pins_answer_by_theirs_and_what_cannot_be_installed_is_named(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "wheels", "hw_acme", version)
    pip = {"pip": "requirements.txt"}
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        async with running(cluster, settings) as on:
            await on.server.apply(a_secret("hatchway-index", {"UV_DEFAULT_INDEX": f"http://jo:{SECRET}@{address}"}))
            await on.server.apply(realtime_api_definition())
            wanted = {
                "old": ("hw-acme", "hw-acme==1.0\n"),
                "new": ("hw-acme==2.0", None),
                "none": ("hw-acme==3.0", None),
            }
            for name, (asked, lock) in wanted.items():
                files = {"handler.py": HANDLER, "requirements.txt": f"{asked}\n"}
                await deploy(on, name, files, lock=lock, dependencies=pip)
            for name in ("old", "new"):
                await on.until(name, is_done)
            assert [await answer(on, name) for name in ("old", "new")] == ["1.0", "2.0"]
            failed = await on.until("none", lambda status: status["reason"] == "EnvironmentFailed")
            assert "there is no version of hw-acme==3.0" in failed["message"]
    assert SECRET not in str([request.document() for request in cluster.requests if "/secrets" not in request.path])


SHARED_CACHE = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "cache"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}},
}


@pytest.mark.timeout(300)
async def test_packages_of_the_deploying_machine_and_a_large_file_are_on_a_node_once(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    handler = """
import os, hw_acme
def predict(payload):
    found = os.stat("model.bin")
    return [hw_acme.__version__, hw_acme.__file__, found.st_ino, found.st_size, os.getpid()]
"""
    files = {"handler.py": handler, "model.bin": "x" * (3 << 20)}
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        async with running(cluster, settings, cache_claim="cache") as on:
            await on.server.apply(SHARED_CACHE)
            await on.server.apply(a_secret("hatchway-index", {"UV_DEFAULT_INDEX": f"http://jo:{SECRET}@{address}"}))
            await on.server.apply(realtime_api_definition())
            frozen = ("hw-acme==1.0", "hatchway==0.1.0")
            await deploy(on, "one", files, packages=frozen, replicas=2)
            await deploy(on, "two", {**files, "other.py": ""}, packages=frozen)
            await on.until("one", lambda status: is_done(status) and status["readyReplicas"] == 2)
            await on.until("two", is_done)
            seen = set[tuple[object, ...]]()
            async with asyncio.timeout(PATIENCE_S):
                while len(seen) < 3:  # all three replicas have answered
                    seen |= {tuple((await on.gateway.post(f"/{name}", json=1)).json()) for name in ("one", "two")}
            assert {version for version, *_ in seen} == {"1.0"}
            ((place, _, size),) = {each[1:4] for each in seen}  # the same module, and the same file
            assert size == 3 << 20
            assert "/claims/cache/envs/" in str(place)
    assert "installed as they were where it was deployed: hw-acme 1.0 (the image has none)" in log_of(cluster, "two")


@pytest.mark.timeout(300)
async def test_a_secret_is_waited_for_answered_and_rotated_and_nobody_else_is_told(
    cluster: Cluster, settings: Settings
) -> None:
    handler = "import os\ndef predict(payload): return [os.environ['COLOUR'], len(os.environ['TOKEN'])]\n"
    variables = make_variables_secret("iris", {"COLOUR": "blue"}, variables_key(TOKEN))
    async with running(cluster, settings) as on:
        await on.server.apply(realtime_api_definition())
        source = {**await on.upload({"handler.py": handler}), "variables_secret": variables["metadata"]["name"]}
        names = {"secrets": {"TOKEN": "payments/token"}, "env": {"COLOUR": "${COLOUR}"}}
        await on.edit("iris", {"spec": {"handler": {"path": "handler.py", **names}, "source": source}})
        await on.until("iris", lambda status: status["reason"] == "NotFound")  # the values of variables
        await on.server.apply(variables)
        waiting = await on.until("iris", lambda status: status["reason"] == "SecretMissing")
        assert waiting["message"] == 'secret "payments" not found'
        await on.server.apply(a_secret("payments", {"token": SECRET}))
        await on.until("iris", is_done)
        assert await answer(on, "iris") == f'["blue",{len(SECRET)}]'
        (first,) = cluster.all("", "pods")
        await on.server.apply(a_secret("payments", {"token": SECRET * 2}))
        await on.server.delete(PODS, first["metadata"]["name"], grace_s=1)
        async with asyncio.timeout(PATIENCE_S):
            while await answer(on, "iris") != f'["blue",{2 * len(SECRET)}]':
                continue  # held by the activator until there is a replica again
        told = [
            str(request.document()) for request in cluster.requests if not request.path.endswith("/secrets/payments")
        ]
        assert not [each for each in told if SECRET in each or b64encode(SECRET.encode()).decode() in each]
        assert SECRET not in str(await on.server.get(REALTIME_APIS, "iris"))
