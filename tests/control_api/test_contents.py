"""Many files in one body."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hatchway.client.deploying import in_one
from hatchway.control_api.contents import split
from hatchway.errors import Conflict, UsageError

CONTENTS = (b"", b"one\n", bytes(range(256)) * 300, b"end")


async def in_chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int) -> dict[str, bytes]:
    return {
        sha256: b"".join([chunk async for chunk in chunks]) async for sha256, chunks in split(in_chunks(body, size))
    }


def batch(folder: Path) -> dict[str, tuple[Path, int]]:
    found = {}
    for number, content in enumerate(CONTENTS):
        path = folder / str(number)
        path.write_bytes(content)
        found[hashlib.sha256(content).hexdigest()] = path, len(content)
    return found


@pytest.mark.parametrize("size", [1, 7, 64, 65, 1 << 20])
async def test_what_a_client_sends_is_read_whatever_the_chunks(tmp_path: Path, size: int) -> None:
    content = in_one(batch(tmp_path))
    body = b"".join(content.chunks())
    assert len(body) == content.size_bytes
    assert await read(body, size) == {hashlib.sha256(each).hexdigest(): each for each in CONTENTS}


async def test_a_content_that_nobody_reads_is_passed_over(tmp_path: Path) -> None:
    body = b"".join(in_one(batch(tmp_path)).chunks())
    assert len([sha256 async for sha256, _ in split(in_chunks(body, 100))]) == len(CONTENTS)


@pytest.mark.parametrize(
    "body",
    [b"nonsense", b"a" * 200, b"abc 1\nx", b"0" * 64 + b" -1\n", b"0" * 64 + b" 10\nfour", b"0" * 64 + b" x\n"],
)
async def test_what_is_no_such_body_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError):
        await read(body, 50)


def test_a_file_that_got_shorter_is_told_and_one_that_grew_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"12345")
    assert b"".join(in_one({"0" * 64: (path, 3)}).chunks()).endswith(b"\n123")
    with pytest.raises(Conflict, match="changed while it was sent"):
        list(in_one({"0" * 64: (path, 9)}).chunks())
