"""A revision's tree is whole, shares nothing with the user's files, and never leaves its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hatchway.errors import Conflict, InvalidSpec, StorageError
from hatchway.spec.revision import ProjectFile
from hatchway.store.blobs import Blobs
from hatchway.store.trees import Trees, check_manifest

from .test_blobs import LARGE, LARGE_SHA, all_files, overwrite, sha256


def a_file(path: str, content: bytes = b"x", mode: int = 0o644) -> ProjectFile:
    return ProjectFile(path=path, mode=mode, size=len(content), sha256=sha256(content))


def add(blobs: Blobs, *contents: bytes) -> None:
    for content in contents:
        blobs.add_stream(sha256(content), [content])


def test_a_tree_has_the_files_with_their_executable_bits(trees: Trees, blobs: Blobs) -> None:
    add(blobs, b"code", b"run")
    tree = trees.materialise("iris", "r1", [a_file("pkg/handler.py", b"code"), a_file("run.sh", b"run", 0o755)])
    assert tree == trees.path("iris", "r1")
    assert (tree / "pkg/handler.py").read_bytes() == b"code"
    assert os.access(tree / "run.sh", os.X_OK)
    assert not (tree / "pkg/handler.py").stat().st_mode & 0o111
    assert all_files(trees.folder) == ["handler.py", "run.sh"]


def test_two_who_build_the_same_tree_at_once_both_get_it(tmp_path: Path) -> None:
    """As two shells do that deploy the same project."""

    class Slow(Blobs):
        meanwhile: Callable[[], object] | None = None

        def place(self, sha256: str, target: Path, *, is_executable: bool) -> None:
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
            super().place(sha256, target, is_executable=is_executable)

    blobs = Slow(tmp_path / "blobs")
    trees = Trees(tmp_path / "revisions", blobs)
    add(blobs, b"code")
    files = [a_file("handler.py", b"code")]
    blobs.meanwhile = lambda: trees.materialise("iris", "r1", files)
    tree = trees.materialise("iris", "r1", files)
    assert (tree / "handler.py").read_bytes() == b"code"
    assert all_files(trees.folder) == ["handler.py"]


def test_an_empty_project_is_an_empty_tree(trees: Trees) -> None:
    assert list(trees.materialise("iris", "r1", []).iterdir()) == []


def test_a_large_file_is_stored_once(trees: Trees, blobs: Blobs) -> None:
    add(blobs, LARGE)
    for revision in ("r1", "r2"):
        tree = trees.materialise("iris", revision, [a_file("model.bin", LARGE)])
        placed, blob = (tree / "model.bin").stat(), blobs.path(LARGE_SHA).stat()
        assert os.path.samestat(placed, blob) or placed.st_mtime_ns == blob.st_mtime_ns  # a reflink, where disks can
    assert blobs.is_intact(LARGE_SHA)


def test_linking_and_unlinking_does_not_make_a_blob_suspect(trees: Trees, blobs: Blobs) -> None:
    add(blobs, LARGE)
    seen = blobs.path(LARGE_SHA).with_name(LARGE_SHA + ".seen")
    trees.materialise("iris", "r1", [a_file("model.bin", LARGE)])
    after_link = seen.read_bytes()
    assert blobs.is_intact(LARGE_SHA)
    assert seen.read_bytes() == after_link  # not hashed again, or it would have been remembered again
    trees.remove_revision("iris", "r1")
    found = blobs.path(LARGE_SHA).stat()
    assert seen.read_text() == f"[{found.st_size}, {found.st_mtime_ns}, {found.st_ctime_ns}]"


def test_a_large_executable_file_is_not_a_link_to_its_read_only_blob(trees: Trees, blobs: Blobs) -> None:
    add(blobs, LARGE)
    files = [a_file("program", LARGE, 0o755), a_file("data", LARGE)]
    tree = trees.materialise("iris", "r1", files)
    assert os.access(tree / "program", os.X_OK)
    assert not blobs.path(LARGE_SHA).stat().st_mode & 0o111
    assert trees.materialise("iris", "r1", files) == tree


def test_overwriting_a_small_file_of_a_tree_leaves_other_revisions_alone(trees: Trees, blobs: Blobs) -> None:
    add(blobs, b"code")
    first, second = (trees.materialise("iris", r, [a_file("handler.py", b"code")]) for r in ("r1", "r2"))
    overwrite(first / "handler.py", b"XXXX")
    assert (second / "handler.py").read_bytes() == b"code"


def test_a_large_file_written_to_in_a_tree_is_never_used_again(trees: Trees, blobs: Blobs) -> None:
    add(blobs, LARGE)
    files = [a_file("model.bin", LARGE)]
    tree = trees.materialise("iris", "r1", files)
    overwrite(tree / "model.bin", b"XXXX")  # damages the blob too, where it is a hard link
    if blobs.missing([LARGE_SHA]):
        with pytest.raises(Conflict, match=r"not uploaded: model\.bin"):
            trees.materialise("iris", "r2", files)
        add(blobs, LARGE)
    for revision in ("r1", "r2"):
        tree = trees.materialise("iris", revision, files)
        assert sha256((tree / "model.bin").read_bytes()) == LARGE_SHA


def test_a_missing_blob_names_the_file_and_leaves_nothing(trees: Trees, blobs: Blobs) -> None:
    add(blobs, b"code")
    with pytest.raises(Conflict, match=r"weights\.bin"):
        trees.materialise("iris", "r1", [a_file("handler.py", b"code"), a_file("weights.bin", b"gone")])
    assert not trees.path("iris", "r1").exists()
    assert all_files(trees.folder) == []


def test_a_size_that_is_not_the_contents_is_a_conflict(trees: Trees, blobs: Blobs) -> None:
    add(blobs, b"code")
    with pytest.raises(Conflict, match="not 99 bytes long"):
        trees.materialise("iris", "r1", [a_file("handler.py", b"code").model_copy(update={"size": 99})])
    assert all_files(trees.folder) == []


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/etc/passwd", "absolute"),
        ("../outside", "leaves"),
        ("a/../../outside", "leaves"),
        ("a/..", "leaves"),
        ("a//b", "normal"),
        ("./a", "normal"),
        ("a/", "normal"),
        ("", "normal"),
        ("a\0b", "normal"),
        ("x" * 256, "too long"),
        ("d/" * 2000 + "f", "too long"),
    ],
)
def test_a_path_that_leaves_the_tree_is_refused(trees: Trees, blobs: Blobs, path: str, complaint: str) -> None:
    add(blobs, b"x")
    with pytest.raises(InvalidSpec) as caught:
        trees.materialise("iris", "r1", [a_file(path)])
    assert complaint in caught.value.problems[0]
    assert all_files(trees.folder) == []


def test_a_file_listed_twice_or_used_as_a_folder_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_manifest([a_file("a"), a_file("a"), a_file("b"), a_file("b/c")])
    assert caught.value.problems == ("'a' is listed twice", "'b' is a file and a folder")


@pytest.mark.parametrize("name", ["..", "a/b", "", ".building"])
def test_an_api_or_revision_cannot_name_another_folder(trees: Trees, name: str) -> None:
    with pytest.raises(InvalidSpec):
        trees.path(name, "r1")
    with pytest.raises(InvalidSpec):
        trees.path("iris", name)


def test_a_tree_half_built_by_a_killed_engine_goes_with_the_next_start(trees: Trees, blobs: Blobs) -> None:
    (trees.folder / ".building" / "half").mkdir()
    (trees.folder / ".building" / "half" / "handler.py").write_text("x")
    Trees(trees.folder, blobs)
    assert all_files(trees.folder) == []


def test_remove_is_safe_to_repeat_and_takes_the_empty_folder_along(trees: Trees) -> None:
    trees.materialise("iris", "r1", [])
    trees.materialise("iris", "r2", [])
    trees.remove_revision("iris", "r1")
    trees.remove_revision("iris", "r1")
    assert trees.path("iris", "r2").is_dir()
    trees.remove_revision("iris", "r2")
    assert not (trees.folder / "iris").exists()
    trees.remove("iris")


def test_prune_keeps_the_named_revisions_and_says_what_it_freed(trees: Trees, blobs: Blobs) -> None:
    add(blobs, b"code", LARGE)
    for revision in ("r1", "r2"):
        trees.materialise("iris", revision, [a_file("handler.py", b"code")])
    trees.materialise("gone", "r9", [a_file("handler.py", b"code")])
    assert trees.prune({("iris", "r2")}) == 2 * len(b"code")
    assert trees.path("iris", "r2").is_dir()
    assert not trees.path("iris", "r1").exists()
    assert not (trees.folder / "gone").exists()


def test_a_tree_larger_than_the_free_disk_is_refused_before_it_is_written(small_disk: Path) -> None:
    blobs = Blobs(small_disk / "blobs")
    content = b"x" * 400_000
    add(blobs, content)
    trees = Trees(small_disk / "revisions", blobs)
    with pytest.raises(StorageError, match="are needed"):
        trees.materialise("iris", "r1", [a_file("a", content), a_file("b", content)])
    assert all_files(trees.folder) == []
