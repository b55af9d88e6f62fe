"""A stranger's first minutes: the wheel in an empty environment, a model in another one with packages of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from hatchway.settings import DEFAULT_GATEWAY_PORT
from tests.e2e.ports import taken
from tests.old_packages import OLD, pins
from tests.shell import REPOSITORY, Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
JUPYTER_PORTS = (8888, 8889, 8890)

HANDLER = """
import json
from pathlib import Path

import httptools
import orjson
import pydantic
import uvloop

class House(pydantic.BaseModel):
    rooms: int
    area: float

class Handler:
    def __init__(self, config):
        self.weights = json.loads(Path(config["model"]).read_text())

    def handle_post(self, payload):
        house = House(**payload)
        price = sum(self.weights[name] * getattr(house, name) for name in self.weights)
        return {"price": price, "versions": {
            "orjson": orjson.__version__,
            "httptools": httptools.__version__,
            "uvloop": uvloop.__version__,
            "pydantic": pydantic.VERSION,
        }}

    def handle_get(self):
        try:
            import hatchway
        except ImportError:
            return "no hatchway here"
        return hatchway.__file__
"""


def uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def an_environment(folder: Path, *packages: str | Path) -> Path:
    uv("venv", "-q", "--python", sys.executable, folder)
    uv("pip", "install", "-q", "--python", folder / "bin" / "python", *packages)
    return folder / "bin"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """In the model's folder, with the model's environment active; `hatchway` is installed from the wheel elsewhere."""
    uv("build", "-q", "--wheel", "--out-dir", tmp_path / "dist", REPOSITORY)
    (wheel,) = (tmp_path / "dist").glob("hatchway-*.whl")
    # The locked versions, so that this fails for what we did and not for what was released last night.
    tool = an_environment(tmp_path / "tool", wheel, "--constraint", REPOSITORY / "requirements-dev.lock")
    model = an_environment(tmp_path / "model", *pins())
    project = tmp_path / "houses"
    project.mkdir()
    with a_shell(project) as shell:
        del shell.environ["HATCHWAY_GATEWAY_PORT"]
        shell.environ["PATH"] = os.pathsep.join([str(model), str(tool), os.defpath])
        shell.environ["VIRTUAL_ENV"] = str(model.parent)
        yield shell
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


def test_from_the_wheel_to_an_answer_of_ones_own_model(shell: Shell) -> None:
    (shell.folder / "handler.py").write_text(HANDLER)
    (shell.folder / "model.json").write_text(json.dumps({"rooms": 10_000, "area": 2_000}))
    (shell.folder / "hatchway.yaml").write_text(
        "name: houses\nhandler: {path: handler.py, config: {model: model.json}}\n"
    )
    with ExitStack() as busy:
        for port in (*JUPYTER_PORTS, DEFAULT_GATEWAY_PORT):
            busy.enter_context(taken(port))
        said = shell.run("hatchway deploy")
        assert f"because port {DEFAULT_GATEWAY_PORT} was taken" in said.stderr
        url = shell.run("hatchway get houses -o json").json()["endpoint"]
        assert url in said.stdout
        answer = httpx.post(url, json={"rooms": 3, "area": 80.0}).json()
        assert answer == {"price": 190_000, "versions": OLD}
        assert httpx.get(url).text == "no hatchway here"
