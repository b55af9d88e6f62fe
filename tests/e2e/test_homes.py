"""Where a home may lie and what may be in its way: taken ports, full and read-only disks, other engines, long names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from hatchway.settings import DEFAULT_GATEWAY_PORT, Settings
from tests.e2e.conftest import HANDLER, YAML
from tests.e2e.load import requests_to
from tests.e2e.ports import taken
from tests.e2e.verbs import deploy, get, until
from tests.shell import Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

MIB = 1024 * 1024


def project(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "hatchway.yaml").write_text(YAML)
    (folder / "handler.py").write_text(HANDLER)
    return folder


# --- the gateway's port ----------------------------------------------------------------------------------------
def test_a_default_port_that_is_taken_is_replaced_announced_and_remembered(shell: Shell) -> None:
    del shell.environ["HATCHWAY_GATEWAY_PORT"]
    with taken(DEFAULT_GATEWAY_PORT):
        said = shell.run("hatchway up")
        port = shell.run("hatchway status -o json").json()["gateway"]["port"]
        assert port > DEFAULT_GATEWAY_PORT
        assert f"http://127.0.0.1:{port}" in said.stdout
        assert f"port {port}, because port {DEFAULT_GATEWAY_PORT} was taken" in said.stderr
        endpoint = deploy(shell)["endpoint"]
        assert httpx.post(endpoint, json=1).json()["got"] == 1
    shell.run("hatchway down")
    assert f"http://127.0.0.1:{port}" in shell.run("hatchway up").stdout


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_leaves_nothing(shell: Shell) -> None:
    with taken(0) as port:
        shell.environ["HATCHWAY_GATEWAY_PORT"] = str(port)
        for command in ("hatchway up", "hatchway deploy", f"hatchway up --port {port}", "hatchway up --foreground"):
            failed = shell.run(command, expect=1)
            assert f"port {port}" in failed.stdout + failed.stderr
            assert "HATCHWAY_GATEWAY_PORT" in failed.stdout + failed.stderr
            assert "Traceback" not in failed.stdout + failed.stderr
            assert shell.processes() == []
            assert shell.sockets() == []
    assert deploy(shell)["endpoint"] == f"http://127.0.0.1:{port}/echo"


# --- disks -----------------------------------------------------------------------------------------------------
@contextmanager
def a_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A small disk of its own. Skips where this user may not mount one."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_home_refuses_what_is_new_and_serves_what_is_there(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    with a_shell(folder) as shell, a_disk(shell.home, 64 * MIB):
        first = deploy(shell)
        with requests_to(first["endpoint"], per_s=50) as load:
            (folder / "model.bin").write_bytes(os.urandom(64 * MIB))
            assert "space" in refused(shell)
            (folder / "model.bin").unlink()
            fill(shell.home)
            (folder / "handler.py").write_text(HANDLER + "\n# changed")
            assert "space" in refused(shell)
            load.wait_for(20)
        assert set(load.statuses) == {200}, load.failures[:3]
        status = get(shell)
        assert (status["status"], status["revision"]) == ("live", first["revision"])

        pid = status["replica_list"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] not in (pid, None))
        assert httpx.post(first["endpoint"], json=1).json()["got"] == 1

        (shell.home / "filling").unlink()
        assert deploy(shell)["revision"] != first["revision"]
        assert shell.run("hatchway logs echo").stdout != ""
        shell.run("hatchway down")
        assert shell.processes() == []


def refused(shell: Shell) -> str:
    """What a deploy that must fail says."""
    failed = shell.run("hatchway deploy", expect=1)
    assert "Traceback" not in failed.stderr
    return failed.stderr


def fill(disk: Path) -> None:
    """Down to the last byte."""
    with (disk / "filling").open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_a_read_only_home_is_told_at_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    with a_shell(folder) as shell, a_disk(shell.home, MIB):
        subprocess.run(["mount", "-o", "remount,ro", str(shell.home)], check=True)
        for command in ("hatchway up", "hatchway deploy", "hatchway up --foreground"):
            failed = shell.run(command, expect=1)
            assert str(shell.home) in failed.stderr
            assert "HATCHWAY_HOME" in failed.stderr
            assert "Traceback" not in failed.stderr
        assert shell.processes() == []
        assert shell.sockets() == []


# --- engines ---------------------------------------------------------------------------------------------------
def test_a_second_engine_leaves_the_first_alone(shell: Shell) -> None:
    endpoint = deploy(shell)["endpoint"]
    before = shell.run("hatchway status -o json").json()
    second = shell.run(f"{sys.executable} -m hatchway.engine", expect=78)
    assert f"another engine (pid {before['engine']['pid']})" in second.stderr
    assert shell.run("hatchway up --foreground", expect=1).stderr.count("already up") == 1
    assert shell.run("hatchway status -o json").json() == before
    assert httpx.post(endpoint, json=1).status_code == 200


def test_many_commands_that_start_the_engine_at_once_share_one(shell: Shell) -> None:
    shell.run("for n in 1 2 3; do hatchway up & pids+=($!); done; for pid in ${pids[@]}; do wait $pid || exit 1; done")
    assert sum("hatchway.engine" in process and "keeper" not in process for process in shell.processes()) == 1
    assert "already up" in shell.run("hatchway up").stdout


def test_the_same_project_deployed_from_two_shells_is_one_api(shell: Shell) -> None:
    shell.run("hatchway deploy & first=$!; hatchway deploy && wait $first")
    status = get(shell)
    assert (status["status"], status["replicas"]["ready"]) == ("live", 1)
    assert len(status["revisions"]) == 1


# --- paths -----------------------------------------------------------------------------------------------------
def test_a_home_of_200_characters_and_a_project_with_a_difficult_name(tmp_path: Path) -> None:
    folder = project(tmp_path / "Vorhersage für Müllers 'Läden' 日本 $HOME")
    with a_shell(folder) as shell:
        home = shell.home / ("ein langer Ordner mit Ümläuten " * 3) / ("x" * 120)
        shell.home = home
        shell.environ["HATCHWAY_HOME"] = str(home)
        assert len(str(home)) > 200
        endpoint = deploy(shell)["endpoint"]
        assert httpx.post(endpoint, json=1).json()["got"] == 1
        assert deploy(shell)["message"] == "up to date"
        assert shell.run("hatchway logs echo").stdout != ""
        assert "got" in shell.run("hatchway predict echo 5").stdout
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


def test_without_a_runtime_folder_sockets_lie_in_tmp_and_go_with_the_home(shell: Shell) -> None:
    del shell.environ["XDG_RUNTIME_DIR"]
    runtime = Settings.from_environment(shell.environ).runtime_dir
    assert runtime.is_relative_to("/tmp")
    endpoint = deploy(shell)["endpoint"]
    assert httpx.post(endpoint, json=1).status_code == 200
    shell.run("hatchway down")
    assert not runtime.exists()
    shell.environ["XDG_RUNTIME_DIR"] = str(shell.home.parent / "run")


def test_links_out_of_the_project_are_refused_by_name_and_inner_ones_followed(shell: Shell, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (shell.folder / "models").mkdir()
    (shell.folder / "models" / "v1.txt").write_text("one")
    (shell.folder / "current").symlink_to("models", target_is_directory=True)
    (shell.folder / "handler.py").write_text("def predict(payload):\n    return open('current/v1.txt').read()\n")
    bad = {"file": outside / "secret.txt", "folder": outside, "up": Path("../outside"), "gone": Path("nowhere")}
    for name, target in bad.items():
        (shell.folder / name).symlink_to(target)
    failed = shell.run("hatchway deploy", expect=2)
    for name, target in bad.items():
        assert f"{name}: a link to {target}" in failed.stderr
        (shell.folder / name).unlink()
    endpoint = deploy(shell)["endpoint"]
    assert httpx.post(endpoint, json=1).text == "one"
    (shell.folder / "models" / "v1.txt").write_text("two")
    assert httpx.post(endpoint, json=1).text == "one"
    until(shell, lambda status: status["status"] == "live")
