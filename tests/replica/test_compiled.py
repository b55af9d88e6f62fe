"""Compiled modules beside their sources, where a prefix would hide them."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from hatchway.replica.compiled import place_beside

IMPORT = """
import sys
from hatchway.replica import compiled

compiled.read_beside_sources()
sys.path.insert(0, sys.argv[1])
import thing
print(thing.ANSWER)
"""


@pytest.fixture
def compiled_beside(tmp_path: Path) -> Path:
    """A module whose source says 2 and whose compiled form, current by its size and time, says 1."""
    source = tmp_path / "sources" / "thing.py"
    source.parent.mkdir()
    source.write_text("ANSWER = 1\n")
    py_compile.compile(str(source))
    times = source.stat()
    source.write_text("ANSWER = 2\n")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    return source


def answer(source: Path, prefix: Path) -> str:
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(prefix)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", IMPORT, str(source.parent)]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def test_what_was_compiled_beside_a_source_is_used(compiled_beside: Path, tmp_path: Path) -> None:
    assert answer(compiled_beside, tmp_path / "prefix") == "1"
    assert list((tmp_path / "prefix").rglob("thing.*.pyc")) == []


def test_what_is_not_current_is_compiled_into_the_prefix(compiled_beside: Path, tmp_path: Path) -> None:
    os.utime(compiled_beside, (1, 1))
    (beside,) = compiled_beside.parent.glob("__pycache__/*.pyc")
    before = beside.read_bytes()
    assert answer(compiled_beside, tmp_path / "prefix") == "2"
    assert len(list((tmp_path / "prefix").rglob("thing.*.pyc"))) == 1
    assert beside.read_bytes() == before


@pytest.mark.parametrize(
    ("path", "prefix", "beside"),
    [
        ("/p/usr/lib/a.cpython-311.pyc", "/p", "/usr/lib/__pycache__/a.cpython-311.pyc"),
        ("/p/usr/lib/a.cpython-311.pyc", "/p/", "/usr/lib/__pycache__/a.cpython-311.pyc"),
        ("/usr/lib/a.py", "/p", None),
        ("/p/a.py", "/p", None),
        ("/pp/a.pyc", "/p", None),
        ("/usr/lib/a.pyc", "", None),
    ],
)
def test_the_place_beside_a_source(path: str, prefix: str, beside: str | None) -> None:
    assert place_beside(path, prefix) == beside
