from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from hatchway.dev.changes import deliberate, saves, saves_of_model


async def test_saves_of_project_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hatchwayignore").write_text("*.tmp\n")
    told = saves(tmp_path)
    first = asyncio.ensure_future(anext(told))
    # The watch begins some time after it is asked for: write until it has noticed.
    while not first.done():
        for name in (".git", "a.tmp", "__pycache__", "sub/handler.py", ".env"):
            (tmp_path / name).write_text("x")
        await asyncio.wait({first}, timeout=0.1)
    assert await first <= {"sub/handler.py", ".env"}
    await told.aclose()  # type: ignore[attr-defined]  # a generator


def test_while_loading_only_code_counts() -> None:
    changed = {"handler.py", "counts.db", "hatchway.yaml", ".env", "sub/model.bin"}
    assert deliberate(changed, is_loading=False) == changed
    assert deliberate(changed, is_loading=True) == {"handler.py", "hatchway.yaml", ".env"}


async def test_what_an_editor_makes_for_a_moment_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "handler.py").touch()
    told = saves(tmp_path)
    first = asyncio.ensure_future(anext(told))
    while not first.done():
        (tmp_path / "draft").write_text("x")
        (tmp_path / "draft").rename(tmp_path / "handler.py")
        await asyncio.wait({first}, timeout=0.1)
    assert await first == {"handler.py"}
    await told.aclose()  # type: ignore[attr-defined]  # a generator


async def test_of_a_model_alone_only_its_own_file_counts(tmp_path: Path) -> None:
    model = tmp_path / "iris.joblib"
    model.write_text("one")
    told = saves_of_model(model)
    next_save = asyncio.ensure_future(anext(told))
    while not next_save.done():
        (tmp_path / "other.joblib").write_text("x")
        (tmp_path / "draft").write_text("two")
        (tmp_path / "draft").rename(model)
        await asyncio.wait({next_save}, timeout=0.1)
    assert await next_save == {"iris.joblib"}
    await told.aclose()  # type: ignore[attr-defined]  # a generator


async def test_a_folder_that_is_removed_and_made_anew_is_told(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "data").mkdir(parents=True)
    (model / "data" / "weights").write_text("one")
    told = saves_of_model(model)
    first = asyncio.ensure_future(anext(told))
    await asyncio.sleep(0)  # the generator has looked at the folder
    shutil.rmtree(model)
    model.mkdir()
    (model / "weights").write_text("two")
    assert await first == {"model"}
    second = asyncio.ensure_future(anext(told))
    (model / "weights").write_text("three, in place")
    assert await second == {"model"}
    await told.aclose()  # type: ignore[attr-defined]  # a generator
