"""Blobs hold what their name says, whole or not at all, whatever happens to sources, links and disks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hatchway.errors import Conflict, StorageError, UsageError
from hatchway.store.blobs import LARGE_FILE_BYTES, Blobs


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


LARGE = b"model" * (LARGE_FILE_BYTES // 5 + 1)
LARGE_SHA = sha256(LARGE)


def all_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def overwrite(path: Path, content: bytes) -> None:
    """As root may, in place, through whatever link."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)


def test_only_what_is_not_there_is_missing(blobs: Blobs) -> None:
    blobs.add_stream(sha256(b"abc"), [b"a", b"bc"])
    assert blobs.missing([sha256(b"abc"), sha256(b"x"), sha256(b"x")]) == [sha256(b"x")]
    assert blobs.path(sha256(b"abc")).read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["../../etc/passwd", "AB" * 32, "ab" * 31, "", "ab" * 32 + "\n"])
def test_a_name_that_is_no_hash_is_refused(blobs: Blobs, name: str) -> None:
    with pytest.raises(UsageError):
        blobs.add_stream(name, [b""])
    with pytest.raises(UsageError):
        blobs.missing([name])


def test_a_wrong_content_leaves_nothing(blobs: Blobs) -> None:
    with pytest.raises(Conflict, match="damaged or cut off"):
        blobs.add_stream(sha256(b"abc"), [b"ab"])
    assert all_files(blobs.folder) == []


def test_an_interrupted_upload_leaves_nothing(blobs: Blobs) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b"a" * 100
        raise ConnectionResetError("the client went away")

    with pytest.raises(StorageError):
        blobs.add_stream(sha256(b"abc"), cut_off())
    assert all_files(blobs.folder) == []


async def test_a_cancelled_upload_leaves_nothing(blobs: Blobs) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"abc"
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.add_async_stream(sha256(b"abc"), endless()))
    await begun.wait()
    assert len(all_files(blobs.folder)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all_files(blobs.folder) == []


async def test_a_body_can_arrive_in_the_event_loop(blobs: Blobs) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"bc"

    await blobs.add_async_stream(sha256(b"abc"), body())
    assert blobs.missing([sha256(b"abc")]) == []


def test_what_a_killed_engine_left_half_done_goes_with_the_next_start(blobs: Blobs) -> None:
    (blobs.folder / "incoming" / "left").write_bytes(b"half")
    Blobs(blobs.folder)
    assert all_files(blobs.folder) == []


def test_a_local_file_is_taken_by_its_path_and_not_shared_with_later_edits(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(LARGE)
    blobs.add_path(LARGE_SHA, source)
    overwrite(source, b"XXXX")
    assert sha256(blobs.path(LARGE_SHA).read_bytes()) == LARGE_SHA
    assert not os.path.samefile(source, blobs.path(LARGE_SHA))


def test_a_local_file_that_changed_since_it_was_hashed_is_a_conflict(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "handler.py"
    source.write_text("new")
    with pytest.raises(Conflict, match="changed while it was deployed") as caught:
        blobs.add_path(sha256(b"old"), source)
    assert str(source) in caught.value.message
    assert all_files(blobs.folder) == []


def test_a_path_that_is_no_regular_file_does_not_hang(blobs: Blobs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "nowhere"):
        with pytest.raises(Conflict, match=str(path)):
            blobs.add_path(sha256(b""), path)


def test_a_blob_is_read_only_and_its_folder_private(blobs: Blobs) -> None:
    blobs.add_stream(sha256(b"abc"), [b"abc"])
    path = blobs.path(sha256(b"abc"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_large_blob_that_was_written_to_counts_as_missing(blobs: Blobs) -> None:
    blobs.add_stream(LARGE_SHA, [LARGE])
    assert blobs.missing([LARGE_SHA]) == []
    overwrite(blobs.path(LARGE_SHA), b"XXXX")
    assert blobs.missing([LARGE_SHA]) == [LARGE_SHA]
    assert all_files(blobs.folder) == []


def test_a_large_blob_is_believed_by_its_stat_and_hashed_only_when_that_moved(blobs: Blobs) -> None:
    blobs.add_stream(LARGE_SHA, [LARGE])
    path = blobs.path(LARGE_SHA)
    before = path.stat().st_atime_ns
    os.utime(path, ns=(1, path.stat().st_mtime_ns))  # an access time that a read would move (relatime)
    assert blobs.is_intact(LARGE_SHA)  # ctime moved: hashed, found right, remembered
    seen = path.with_name(path.name + ".seen").read_bytes()
    assert blobs.is_intact(LARGE_SHA)
    assert path.with_name(path.name + ".seen").read_bytes() == seen
    assert before > 0


def test_a_small_blob_that_was_written_to_is_not_used(blobs: Blobs, tmp_path: Path) -> None:
    blobs.add_stream(sha256(b"abc"), [b"abc"])
    overwrite(blobs.path(sha256(b"abc")), b"X")
    with pytest.raises(Conflict, match="damaged"):
        blobs.place(sha256(b"abc"), tmp_path / "copy", is_executable=False)
    assert blobs.missing([sha256(b"abc")]) == [sha256(b"abc")]


def test_a_blob_that_is_not_there_cannot_be_placed(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="missing"):
        blobs.place(sha256(b"abc"), tmp_path / "copy", is_executable=False)


def test_prune_keeps_what_is_needed_and_says_what_it_freed(blobs: Blobs) -> None:
    for content in (b"keep", b"go", LARGE):
        blobs.add_stream(sha256(content), [content])
    assert blobs.prune({sha256(b"keep")}) == len(b"go") + len(LARGE)
    assert all_files(blobs.folder) == [sha256(b"keep")]


def test_a_second_upload_of_the_same_content_keeps_the_first(blobs: Blobs) -> None:
    blobs.add_stream(LARGE_SHA, [LARGE])
    inode = blobs.path(LARGE_SHA).stat().st_ino
    blobs.add_stream(LARGE_SHA, [LARGE])
    assert blobs.path(LARGE_SHA).stat().st_ino == inode


def test_a_full_disk_refuses_an_upload_and_leaves_nothing(small_disk: Path) -> None:
    blobs = Blobs(small_disk / "blobs")
    with pytest.raises(StorageError, match="No space left") as caught:
        blobs.add_stream(sha256(b""), (b"x" * 65536 for _ in range(100)))
    assert "prune" in (caught.value.hint or "")
    assert all_files(blobs.folder) == []
    blobs.add_stream(sha256(b"small"), [b"small"])


def test_a_local_file_larger_than_the_free_disk_is_refused_before_it_is_copied(
    small_disk: Path, tmp_path: Path
) -> None:
    blobs = Blobs(small_disk / "blobs")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(StorageError, match=r"10,240\.0 MiB are needed"):
        blobs.add_path(sha256(b""), tmp_path / "sparse")
    assert all_files(blobs.folder) == []
