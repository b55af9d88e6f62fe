"""The user's Python and packages: other versions beside ours, the very same files, other and too old Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hatchway.contract import EXIT_OLD_PYTHON
from tests.old_packages import OLD, pins
from tests.replica.running import Running

UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")

VERSIONS = """
import sys

first = list(sys.path[:1])
before = sorted(name for name in sys.modules if name.partition(".")[0] in ("hatchway", "orjson", "httptools", "uvloop"))

import httptools
import orjson

class Handler:
    def handle_post(self, payload):
        import uvloop
        return {
            "first": first[0],
            "before": before,
            "orjson": orjson.__version__,
            "dumps": orjson.dumps({"a": 1}).decode(),
            "httptools": httptools.__file__,
            "parsed": httptools.parse_url(b"/a?b").path.decode(),
            "uvloop": uvloop.__file__,
            "python": sys.version_info[:2],
        }

    def handle_get(self):
        try:
            import hatchway
        except ImportError:
            return "none"
        return hatchway.__file__
"""


def uv(*arguments: str) -> None:
    subprocess.run([UV, *arguments], check=True, capture_output=True)


def an_environment(folder: Path, *packages: str, python: str = sys.executable) -> str:
    uv("venv", "-q", "--python", python, str(folder))
    if packages:
        uv("pip", "install", "-q", "--python", str(folder / "bin" / "python"), *packages)
    return str(folder / "bin" / "python")


def server_packages(folder: Path, python: str = sys.executable) -> str:
    """What the backend prepares: our three packages, compiled for that Python."""
    uv("pip", "install", "-q", "--python", python, "--target", str(folder), "httptools", "uvloop", "orjson")
    return str(folder)


@pytest.mark.timeout(180)
def test_the_users_versions_load_beside_ours(tmp_path: Path) -> None:
    python = an_environment(tmp_path / "env", *pins())
    handler = VERSIONS + (
        "\n    def handle_put(self, payload):\n        import pydantic\n"
        "        class M(pydantic.BaseModel):\n            x: float\n"
        "        return {'m': M(**payload), 'v': pydantic.VERSION}\n"
    )
    ours = server_packages(tmp_path / "ours")
    with Running({"handler.py": handler}, {"server_packages": ours}, python=python) as replica:
        got = replica.post(1).json()
        assert (got["orjson"], got["dumps"], got["parsed"]) == (OLD["orjson"], '{"a":1}', "/a")
        assert str(tmp_path / "env") in got["httptools"]
        assert str(tmp_path / "env") in got["uvloop"]
        assert (got["before"], got["first"]) == ([], replica.launch.project_dir)
        answer = replica.request("PUT", "/", b'{"x": 1}', {"content-type": "application/json"})
        assert answer.json() == {"m": {"x": 1.0}, "v": OLD["pydantic"]}
        assert replica.request("GET").text == "none"  # and no hatchway of ours is seen


@pytest.mark.timeout(180)
@pytest.mark.parametrize("link", ["hardlink", "copy", "symlink"])
def test_the_users_copy_may_be_the_same_file_as_ours(tmp_path: Path, link: str) -> None:
    python = an_environment(tmp_path / "env")
    wanted = pins("httptools", "uvloop", "orjson")
    for target in ("--python", "--target"):
        where = python if target == "--python" else str(tmp_path / "ours")
        interpreter = [] if target == "--python" else ["--python", python]
        uv("pip", "install", "-q", "--link-mode", link, *interpreter, target, where, *wanted)
    fields = {"server_packages": str(tmp_path / "ours")}
    with Running({"handler.py": VERSIONS}, fields, python=python) as replica:
        got = replica.post(1).json()
        assert (got["dumps"], got["parsed"], got["orjson"]) == ('{"a":1}', "/a", OLD["orjson"])


def test_our_packages_may_come_from_the_users_environment() -> None:
    with Running({"handler.py": VERSIONS}) as replica:
        assert replica.post(1).json()["dumps"] == '{"a":1}'


def test_no_module_of_ours_hides_one_of_the_users() -> None:
    files = {
        "handler.py": "import logs, requests, calls\ndef predict(payload): return [logs.X, requests.X, calls.X]",
        "logs.py": "X = 1",
        "requests.py": "X = 2",
        "calls.py": "X = 3",
    }
    with Running(files) as replica:
        assert replica.post(1).json() == [1, 2, 3]


def interpreter(version: str) -> str | None:
    """Some Python of that version: one on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in [shutil.which(f"python{version}"), *found]:
        if candidate and _is_version(candidate, version):
            return candidate
    return None


def _is_version(python: str, version: str) -> bool:
    asked = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and asked.stdout.startswith(f"Python {version}.")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_python_serves(tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    ours = server_packages(tmp_path / "ours", python)
    handler = """
    import asyncio, sys

    class Handler:
        async def handle_post(self, payload):
            async with asyncio.timeout(5):
                return [asyncio.current_task() is not None, list(sys.version_info[:2])]

        async def handle_put(self, payload):
            await asyncio.sleep(0.01)
            return payload

        def handle_get(self):
            return "sync"
    """
    with Running({"handler.py": handler}, {"server_packages": ours}, python=python) as replica:
        assert replica.post(1).json() == [True, [int(part) for part in version.split(".")]]
        assert replica.request("PUT", "/", b"x").body == b"x"
        assert replica.request("GET").text == "sync"
        replica.terminate()
        assert replica.ended() == 0


@pytest.mark.parametrize("version", ["3.8", "3.10"])
def test_an_older_python_is_told_apart(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    with Running({"handler.py": ""}, python=python, wait_ready=False) as replica:
        assert replica.ended() == EXIT_OLD_PYTHON
        words = replica.last_words()
        assert words.reason == "OldPython"
        assert f"Python is {version}." in words.message


def test_no_replica_waits_for_what_opens_model_files_but_those_that_serve_one() -> None:
    loaded = "import hatchway.replica.lifecycle, sys; print([n for n in sys.modules if 'modelfiles' in n])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
