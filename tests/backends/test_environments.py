"""Python environments: found, built, shared, explained when they cannot be. Needs an index that `uv` can reach."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv

from hatchway.backends.local import builds
from hatchway.backends.local.environments import Environments
from hatchway.backends.local.interpreters import Interpreters
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.server_packages import ServerPackages
from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import EnvironmentFailed
from hatchway.installing.distributions import SERVER_PACKAGES, own_abi
from hatchway.installing.indexes import index_variables
from hatchway.processes import Command, Mark, is_alive, spawn
from hatchway.settings import Settings
from hatchway.spec.logs import LogQuery
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import StartBackend
from tests.wheels import private_index, write_wheel

PIP = {"dependencies": {"pip": "requirements.txt"}}
LOCKED = {"dependencies": {"pyproject": "pyproject.toml"}}
PYPROJECT = '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["hw-acme"]\n'
SECRET = "tell-nobody"
VERSION = "import hw_acme; answer = hw_acme.__version__"
LOOK = "import six; answer = six.__version__"


async def test_two_apis_with_conflicting_pins_run_side_by_side(
    start_backend: StartBackend, feed: ChangeFeed, tmp_path: Path, settings: Settings
) -> None:
    backend = await start_backend()
    for api, pin in {"old": "six==1.16.0", "new": "six==1.17.0", "same": "six==1.17.0"}.items():
        folder = tmp_path / api
        folder.mkdir()
        (folder / "requirements.txt").write_text(f"{pin}\n")
        await backend.apply(a_workload(folder, api=api, handler=PIP), 1)
    replicas = await feed.until(in_state(backend, "ready", 3))
    found = {replica.api: await tell(replica, LOOK) for replica in replicas}
    assert found == {"old": "1.16.0", "new": "1.17.0", "same": "1.17.0"}
    assert len(list(settings.environments_dir.glob("py*"))) == 2
    messages = [line.message async for line in backend.logs("old", LogQuery())]
    assert any("six==1.16.0" in message for message in messages)

    assert await backend.prune(frozenset()) == 0  # all of it runs
    for replica in replicas:
        await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    assert await backend.prune(frozenset({"r1"})) > 0  # the server's packages: nothing runs that needs them
    assert len(list(settings.environments_dir.glob("py*"))) == 2
    assert await backend.prune(frozenset()) > 0
    assert list(settings.environments_dir.glob("py*")) == []


async def test_requirements_that_cannot_be_met_fail_with_the_explanation(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    (project / "requirements.txt").write_text("six==1.16.0\nsix==1.17.0\n")
    backend = await start_backend()
    await backend.apply(a_workload(project, handler=PIP), 1)
    replica = await feed.until(lambda: next((r for r in backend.observe() if r.final), None))
    assert (replica.state, replica.reason) == ("failed", "EnvironmentFailed")
    assert "six==1.16.0 and six==1.17.0" in replica.message
    assert "handler.dependencies.pip" in replica.message
    assert list(settings.environments_dir.glob("py*")) == []


async def test_a_requirements_file_that_is_missing_is_named(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project, handler=PIP), 1)
    replica = await feed.until(lambda: next((r for r in backend.observe() if r.final), None))
    assert "cannot read requirements.txt" in replica.message


async def test_a_python_that_is_not_there_is_an_environment_that_failed(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project, python="/nowhere/bin/python"), 1)
    replica = await feed.until(lambda: next((r for r in backend.observe() if r.final), None))
    assert replica.reason == "EnvironmentFailed"
    assert "/nowhere/bin/python" in replica.message


async def test_a_build_of_a_killed_engine_is_ended_and_its_folder_removed(
    start_backend: StartBackend, settings: Settings, tmp_path: Path
) -> None:
    unfinished = settings.environments_dir / "py311-abc.unfinished"
    unfinished.mkdir(parents=True)
    mark = Mark(settings.home_hash, "build", "py311-abc")
    build = spawn(Command(["sleep", "1000"], {**os.environ, PROCESS_VARIABLE: str(mark)}, tmp_path, tmp_path / "log"))
    await start_backend()
    os.waitpid(build.pid, 0)  # noqa: ASYNC222 (it was killed before)
    assert not is_alive(build)
    assert not unfinished.exists()


async def test_what_another_process_builds_is_left_alone(start_backend: StartBackend, settings: Settings) -> None:
    environment = settings.environments_dir / "py311-abc"
    async with builds.building(environment):
        (settings.environments_dir / "py311-abc.unfinished").mkdir()
        await start_backend()
        assert (settings.environments_dir / "py311-abc.unfinished").exists()


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """Environments are on a real disk of 64 MiB."""
    settings.environments_dir.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(settings.environments_dir)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield settings.environments_dir
    subprocess.run(["umount", "-l", str(settings.environments_dir)], check=True)


async def test_a_build_on_a_full_disk_goes_on_once_there_is_room(
    small_disk: Path, start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    (project / "requirements.txt").write_text("six==1.16.0\n")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(64 * 1024 * 1024 - 64 * 1024))
    backend = await start_backend()
    await backend.apply(a_workload(project, handler=PIP), 1)
    waiting = await feed.until(lambda: next((r for r in backend.observe() if r.reason == "NoStorage"), None))
    assert "No space left on device" in waiting.message
    assert not waiting.final
    assert list(small_disk.glob("py*")) == []  # noqa: ASYNC240 (a look at the disk)
    ballast.unlink()
    (replica,) = await feed.until(in_state(backend, "ready"))
    assert await tell(replica, LOOK) == "1.16.0"


async def test_what_runs_without_a_revision_is_kept_until_it_is_released(
    settings: Settings, project: Path, tmp_path: Path
) -> None:
    (project / "requirements.txt").write_text("six==1.16.0\n")
    developing, engine = Environments(settings, time.time, "dev-1"), Environments(settings, time.time)
    log = ReplicaLog(tmp_path, "dev", "iris-1")
    for _ in range(2):
        await developing.runtime(a_workload(project, handler=PIP), log)
    assert engine.unused(frozenset(), frozenset()) == []
    developing.release()
    unused = {path.name for path in engine.unused(frozenset(), frozenset())}
    assert {name.partition("-")[0] for name in unused if not name.startswith(".")} == {
        f"py{sys.version_info[0]}{sys.version_info[1]}",
        "server",
        "asgi",
    }


# --- pyproject.toml -------------------------------------------------------------------------------------------
async def test_a_lock_is_installed_exactly(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, tmp_path: Path
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    write_wheel(tmp_path / "wheels", "hw_acme_dev", "1.0")
    (project / "pyproject.toml").write_text(PYPROJECT + '[dependency-groups]\ndev = ["hw-acme-dev"]\n')
    backend = await start_backend()
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        indexes = {"UV_DEFAULT_INDEX": f"http://jo:{SECRET}@{address}"}
        lock(project, indexes)
        write_wheel(tmp_path / "wheels", "hw_acme", "1.1")  # newer than the lock
        await backend.apply(a_workload(project, handler=LOCKED, build_env=indexes), 1)
        (replica,) = await feed.until(in_state(backend, "ready"))
    assert await tell(replica, VERSION) == "1.0"
    find = "import importlib.util; answer = importlib.util.find_spec('hw_acme_dev') is None"
    assert await tell(replica, find) is True


async def test_without_a_lock_it_is_resolved_once(
    start_backend: StartBackend, feed: ChangeFeed, tmp_path: Path, settings: Settings
) -> None:
    resolutions = settings.environments_dir / "resolutions"
    backend = await start_backend()
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        for api, asked in {"one": "hw-acme", "two": "hw-acme>=1", "three": "hw-acme"}.items():
            write_wheel(tmp_path / "wheels", "hw_acme", "1.0" if api == "one" else "1.1")
            folder = tmp_path / api
            folder.mkdir()
            (folder / "pyproject.toml").write_text(PYPROJECT.replace("hw-acme", asked))
            indexes = {"UV_DEFAULT_INDEX": f"http://jo:{SECRET}@{address}"}
            await backend.apply(a_workload(folder, api=api, handler=LOCKED, build_env=indexes), 1)
            await feed.until(in_state(backend, "ready", len(backend.observe())))
    found = {replica.api: await tell(replica, VERSION) for replica in backend.observe()}
    assert found == {"one": "1.0", "two": "1.1", "three": "1.0"}
    assert len(list(resolutions.glob("py*"))) == 2

    for replica in backend.observe():
        await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    await backend.prune(frozenset({"r1"}))
    assert len(list(resolutions.glob("py*"))) == 2
    await backend.prune(frozenset())
    assert list(resolutions.iterdir()) == []
    assert list(settings.environments_dir.glob("*py3*")) == []


# --- private indexes ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "shell", [{"UV_INDEX_URL": "{}"}, {"PIP_INDEX_URL": "{}"}, {"UV_INDEX": "{}", "UV_NO_CACHE": "1"}]
)
async def test_a_private_index_by_an_environment_variable(
    start_backend: StartBackend,
    feed: ChangeFeed,
    project: Path,
    tmp_path: Path,
    settings: Settings,
    shell: dict[str, str],
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    (project / "requirements.txt").write_text("hw-acme\n")
    backend = await start_backend()
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        environ = {name: value.format(f"http://jo:{SECRET}@{address}") for name, value in shell.items()}
        await backend.apply(a_workload(project, handler=PIP, build_env=index_variables(environ)), 1)
        (replica,) = await feed.until(in_state(backend, "ready"))
    assert await tell(replica, VERSION) == "1.0"
    assert SECRET not in everything_below(settings.home)


async def test_a_password_from_a_netrc_file(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, tmp_path: Path
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login jo password {SECRET}\n")
    (project / "requirements.txt").write_text("hw-acme==1.0\n")
    backend = await start_backend()
    with private_index(tmp_path / "wheels", "jo", SECRET) as address:
        environ = {"UV_EXTRA_INDEX_URL": f"http://{address}", "NETRC": str(tmp_path / "netrc")}
        await backend.apply(a_workload(project, handler=PIP, build_env=index_variables(environ)), 1)
        (replica,) = await feed.until(in_state(backend, "ready"))
    assert await tell(replica, VERSION) == "1.0"


async def test_a_wrong_password_is_told_without_it(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, tmp_path: Path, settings: Settings
) -> None:
    write_wheel(tmp_path / "wheels", "hw_acme", "1.0")
    (project / "requirements.txt").write_text("hw-acme\n")
    backend = await start_backend()
    with private_index(tmp_path / "wheels", "jo", "another") as address:
        workload = a_workload(project, handler=PIP, build_env={"UV_INDEX_URL": f"http://jo:{SECRET}@{address}"})
        await backend.apply(workload, 1)
        replica = await feed.until(lambda: next((r for r in backend.observe() if r.final), None))
    assert "hw-acme" in replica.message
    assert "401" in replica.message
    assert SECRET not in everything_below(settings.home) + replica.message


def lock(project: Path, indexes: dict[str, str]) -> None:
    subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=project, env={**os.environ, **indexes}, check=True)


def everything_below(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


# --- interpreters ---------------------------------------------------------------------------------------------
async def test_an_interpreter_is_asked_what_it_is() -> None:
    python = await Interpreters().probe(sys.executable)
    assert python.version == sys.version_info[:3]
    assert (python.abi, python.prefix) == (own_abi(), sys.prefix)


@pytest.mark.parametrize(
    ("program", "part"),
    [
        ('print(\'{"version": [3, 8, 2], "abi": "a", "prefix": "p", "base_prefix": "p"}\')', "3.11 or newer"),
        ("print('hello')", "does not run as a Python"),
        ("import sys; sys.exit(1)", "does not run as a Python"),
    ],
)
async def test_what_is_no_python_or_too_old_is_refused(tmp_path: Path, program: str, part: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\n{program}\n")
    fake.chmod(0o755)
    with pytest.raises(EnvironmentFailed, match=part):
        await Interpreters().probe(str(fake))


# --- the server's own packages --------------------------------------------------------------------------------
async def test_the_engines_own_packages_serve_its_own_python_without_a_network(tmp_path: Path) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("nothing is to be installed")

    python = await Interpreters().probe(sys.executable)
    packages = ServerPackages(tmp_path)
    folder = await packages.server(python, never)
    assert {name for name in SERVER_PACKAGES if (folder / name).is_dir()} == set(SERVER_PACKAGES)
    assert await packages.server(python, never) == folder
    assert (packages.asgi() / "uvicorn").is_dir()
    assert packages.prune(frozenset({str(folder)})) == [packages.asgi()]
    with builds.kept(packages.asgi()):
        assert packages.prune(frozenset({str(folder)})) == []
    assert [path.name for path in packages.prune(frozenset())][-1] == f".{packages.asgi().name}.lock"
