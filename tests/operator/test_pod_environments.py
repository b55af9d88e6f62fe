"""Projects that bring packages of their own, as custom resources: real pods, real uv, a private index."""

from __future__ import annotations

import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.resources import Json
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.backends.kubernetes.running import IMAGE
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.running import Running, is_done, running
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


async def deploy(on: Running, name: str, files: Mapping[str, str], **handler: object) -> None:
    source = await on.upload(files)
    await on.edit(name, {"spec": {"handler": {"path": "handler.py", **handler}, "source": source}})


async def answer(on: Running, name: str) -> str:
    return (await on.gateway.post(f"/{name}", json=1)).text


@pytest.mark.timeout(180)
async def test_apis_with_conflicting_pins_answer_by_theirs_and_what_cannot_be_installed_is_named(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "wheels", "hw_acme", version)
    pip = {"dependencies": {"pip": "requirements.txt"}}
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        async with running(cluster, settings, index_secret="index") as on:
            await on.server.apply(a_secret("index", {"UV_DEFAULT_INDEX": f"http://jo:{SECRET}@{address}"}))
            await on.server.apply(realtime_api_definition())
            for name, version in {"old": "1.0", "new": "2.0", "none": "3.0"}.items():
                await deploy(on, name, {"handler.py": HANDLER, "requirements.txt": f"hw-acme=={version}\n"}, **pip)
            for name in ("old", "new"):
                await on.until(name, is_done)
            assert [await answer(on, name) for name in ("old", "new")] == ["1.0", "2.0"]
            failed = await on.until("none", lambda status: status["reason"] == "EnvironmentFailed")
            assert "there is no version of hw-acme==3.0" in failed["message"]
    assert SECRET not in str([request.document() for request in cluster.requests if "/secrets" not in request.path])
