from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hatchway.rotation import LogStream

WRITER = """
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(int(sys.argv[2])):
    os.write(log, b"%s %07d %s\\n" % (sys.argv[3].encode(), number, b"x" * 50))
"""


@pytest.fixture
def stream(tmp_path: Path) -> LogStream:
    return LogStream(tmp_path / "a.log", max_file_bytes=64 * 1024, kept_archives=3)


def everything(stream: LogStream) -> bytes:
    position = 0
    found: list[bytes] = []
    while True:
        data, position = stream.read(position, 10_000)
        if not data:
            return b"".join(found)
        found.append(data)


def test_a_small_file_is_left_alone(stream: LogStream) -> None:
    stream.append("hello")
    assert not stream.rotate()
    assert everything(stream) == b"hello\n"


def test_nothing_is_lost_while_others_write(tmp_path: Path) -> None:
    stream = LogStream(tmp_path / "a.log", max_file_bytes=64 * 1024, kept_archives=10_000)
    count = 30_000
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, stream.live, str(count), name]) for name in "ab"]
    rotations = 0
    while any(writer.poll() is None for writer in writers):
        rotations += stream.rotate()
    found = everything(stream)
    assert len(found) == stream.end()  # no position is skipped either
    lines = found.decode().splitlines()
    for name in "ab":
        numbers = [int(line.split()[1]) for line in lines if line.startswith(name)]
        assert numbers == list(range(count))
    assert rotations > 1


def test_only_so_many_archives_are_kept(stream: LogStream) -> None:
    for round in range(10):
        stream.append(f"{round} " + "x" * 70_000)
        assert stream.rotate()
    assert len(stream.pieces()) == 4
    assert stream.end() == 10 * 70_003
    data, position = stream.read(0, 10)
    assert position > 10  # the oldest bytes are gone: reading goes on with what there is
    assert data


def test_a_position_stays_valid_through_a_rotation(stream: LogStream) -> None:
    stream.append("x" * 70_000)
    position = stream.end()
    stream.append("after")
    stream.rotate()
    stream.append("later")
    assert stream.read(position, 100)[0] + stream.read(position + 6, 100)[0] in (b"after\nlater\nlater\n",)


def test_a_writer_that_outruns_the_rotation_keeps_its_newest_bytes(stream: LogStream) -> None:
    for number in range(10):
        stream.append(f"{number}" * 70_000)
    stream.rotate()
    kept = sum(piece.size for piece in stream.pieces())
    assert kept < 4 * 70_000
    assert everything(stream).endswith(b"9" * 1000 + b"\n")


def test_deleting_removes_all_files(stream: LogStream, tmp_path: Path) -> None:
    stream.append("x" * 70_000)
    stream.rotate()
    assert stream.delete() == 70_001
    assert os.listdir(tmp_path) == []


def test_a_log_that_does_not_exist_is_empty(stream: LogStream) -> None:
    assert (stream.pieces(), stream.end(), stream.read(0, 10), stream.rotate()) == ([], 0, (b"", 0), False)
