"""Python environments from the command line: private indexes, interrupted builds, what `prune` leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.verbs import marked
from tests.shell import Shell
from tests.wheels import Gate, private_index, write_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Write = Callable[[str, str], None]
SECRET = "tell-nobody"
HANDLER = """
import hw_acme

def predict(payload):
    return hw_acme.__version__
"""


def want(write: Write, pins: dict[str, str]) -> None:
    """An API of each name, with this version of a package."""
    write("handler.py", HANDLER)
    for name, version in pins.items():
        write(f"{name}.txt", f"hw-acme=={version}\n")
    write(
        "hatchway.yaml",
        "".join(
            f"- {{name: {name}, handler: {{path: handler.py, function: predict, dependencies: {{pip: {name}.txt}}}}}}\n"
            for name in pins
        ),
    )


def environments(shell: Shell) -> list[str]:
    return sorted(path.name for path in (shell.home / "envs").glob("*py*"))


def test_conflicting_pins_from_a_private_index_and_nobody_sees_its_password(
    shell: Shell, write: Write, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "wheels", "hw_acme", version)
    want(write, {"old": "1.0", "new": "2.0"})
    shell.run("hatchway up")  # the engine's own shell knows no index
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        shell.environ["PIP_INDEX_URL"] = f"http://jo:{SECRET}@{address}"
        shell.run("hatchway deploy")
    del shell.environ["PIP_INDEX_URL"]
    answers = {name: shell.run(f"echo '{{}}' | hatchway predict {name} -").stdout for name in ("old", "new")}
    assert answers == {"old": "1.0\n", "new": "2.0\n"}

    shown = [
        shell.run(f"hatchway {command} -o json").stdout
        for command in ("get", "get old", "history old", "logs old", "status")
    ]
    assert SECRET not in "".join(shown)
    told = [path for path in shell.home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert {path.relative_to(shell.home).parts[0] for path in told} == {"variables"}
    assert {path.stat().st_mode & 0o777 for path in told} == {0o600}


def test_a_build_of_an_engine_that_is_killed_is_begun_again_by_the_next(
    shell: Shell, write: Write, tmp_path: Path
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    want(write, {"old": "1.0"})
    gate = Gate()
    with private_index(tmp_path / "wheels", "jo", SECRET, gate) as address:
        shell.environ["UV_DEFAULT_INDEX"] = f"http://jo:{SECRET}@{address}"
        shell.environ["UV_CACHE_DIR"] = str(tmp_path / "cache")
        shell.run("hatchway deploy --no-wait")
        gate.reached.wait()
        assert [name for name in environments(shell) if name.endswith(".unfinished")] != []
        (engine,) = marked(shell, "engine")
        os.kill(engine.identity.pid, signal.SIGKILL)
        gate.opened.set()
        shell.run("hatchway deploy")
    assert shell.run("echo '{}' | hatchway predict old -").stdout == "1.0\n"
    (environment,) = [name for name in environments(shell) if not name.startswith(".")]
    assert not environment.endswith(".unfinished")

    shell.run("hatchway delete old --yes")
    shell.run("hatchway prune")
    assert environments(shell) == []


def test_a_change_of_the_active_environment_is_told_by_its_packages(shell: Shell, write: Write, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python*/site-packages")

    def install(**versions: str) -> None:
        for left in site.glob("*.dist-info"):
            shutil.rmtree(left)
        for name, version in versions.items():
            (site / f"{name}-{version}.dist-info").mkdir()
            (site / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")

    write("handler.py", "def predict(payload):\n    return 1\n")
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py, function: predict}\n")
    shell.environ["VIRTUAL_ENV"] = str(environment)
    install(learner="1.5.0", bar="2.0")
    shell.run("hatchway deploy")
    install(learner="1.6.1", foo="1.0")
    told = "packages changed: -bar, +foo 1.0, learner 1.5.0 -> 1.6.1"
    assert told in shell.run("hatchway deploy --dry-run").stdout
    assert told in shell.run("hatchway deploy").stdout
    assert told in shell.run("hatchway history echo -o json").json()[0]["changes"]
    assert shell.run("hatchway deploy -o json").json()[0]["action"] == "unchanged"
