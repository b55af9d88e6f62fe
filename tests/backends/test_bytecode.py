"""Compiled modules: kept by Python's own rules, or in the home where the environment forbids those."""

from __future__ import annotations

import py_compile
from pathlib import Path

from hatchway.backends.local import LocalBackend
from hatchway.backends.local.bytecode import allow_bytecode, find_stale, forget
from hatchway.settings import Settings
from tests.backends.builders import ChangeFeed, a_workload, in_state
from tests.backends.conftest import StartBackend


def test_an_environment_that_allows_bytecode_stays_as_it_is() -> None:
    assert allow_bytecode({"A": "1"}, Path("/home")) == {"A": "1"}
    assert allow_bytecode({"PYTHONDONTWRITEBYTECODE": ""}, Path("/home")) == {}


def test_where_it_is_forbidden_beside_the_sources_the_home_keeps_it() -> None:
    assert allow_bytecode({"PYTHONDONTWRITEBYTECODE": "1"}, Path("/h")) == {"PYTHONPYCACHEPREFIX": "/h"}


def test_a_cache_of_the_users_own_choice_is_used() -> None:
    given = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/mine"}
    assert allow_bytecode(given, Path("/h")) == {"PYTHONPYCACHEPREFIX": "/mine"}


def test_what_was_compiled_from_a_file_that_is_gone_is_stale(tmp_path: Path) -> None:
    folder, sources = tmp_path / "bytecode", tmp_path / "sources"
    sources.mkdir()
    compiled = []
    for name in ("here", "gone"):
        (sources / f"{name}.py").write_text("")
        compiled.append(folder / sources.relative_to("/") / f"{name}.cpython-311.pyc")
        py_compile.compile(str(sources / f"{name}.py"), cfile=str(compiled[-1]))
    (sources / "gone.py").unlink()
    assert find_stale(folder) == [compiled[1]]


async def test_the_next_replica_finds_what_the_first_one_compiled(
    start_backend: StartBackend, feed: ChangeFeed, settings: Settings, project: Path
) -> None:
    (project / "helper.py").write_text("")
    (project / "handler.py").write_text("import helper\n\ndef predict(payload):\n    return payload\n")
    backend: LocalBackend = await start_backend(environ={"PYTHONDONTWRITEBYTECODE": "1"})
    await backend.apply(a_workload(project), 1)
    await feed.until(in_state(backend, "ready"))
    compiled = list(settings.bytecode_dir.rglob("helper.*.pyc"))
    assert len(compiled) == 1
    assert not (project / "__pycache__").exists()
    before = compiled[0].stat()
    await backend.apply(a_workload(project), 2)
    await feed.until(in_state(backend, "ready", 2))
    assert compiled[0].stat().st_mtime_ns == before.st_mtime_ns

    (project / "helper.py").unlink()
    await backend.prune(frozenset({"r1"}))
    assert not compiled[0].exists()


def test_what_was_compiled_from_a_source_can_be_forgotten(tmp_path: Path) -> None:
    source, folder = tmp_path / "project" / "a[1].py", tmp_path / "cache"
    beside = tmp_path / "project" / "__pycache__"
    central = folder / tmp_path.relative_to("/") / "project"
    for place in (beside, central):
        place.mkdir(parents=True)
        for name in ("a[1].cpython-311.pyc", "a[1].cpython-312.opt-1.pyc", "a1.cpython-311.pyc"):
            (place / name).touch()
    forget(source, folder)
    assert [path.name for place in (beside, central) for path in place.iterdir()] == ["a1.cpython-311.pyc"] * 2
