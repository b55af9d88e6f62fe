"""Log files that others append to, rotated under their hands. Standard library only.

Writers hold the file open with O_APPEND and never learn of a rotation. The head of the file is copied to an archive
named by its position in the whole stream ("replica.log.0000000016777216"), then cut off in one step by the file
system where it can (ext4, xfs: no line is lost), else by truncation. Positions count from the first byte ever
written, so a reader that remembers one goes on where it stopped, whatever was rotated meanwhile.

Archives end and files begin anywhere within a line: the stream is what remains in order, not each file by itself.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 16 * 1024 * 1024
KEPT_ARCHIVES = 3

_FALLOC_FL_COLLAPSE_RANGE = 0x08
_DIGITS = 16


@dataclass(frozen=True)
class Piece:
    """One file of the stream: it holds positions `start` to `start + size`."""

    path: Path
    start: int
    size: int
    modified_at: float  # seconds since the epoch


class LogStream:
    """One log: the live file that writers append to, and its archives."""

    def __init__(self, live: Path, *, max_file_bytes: int = MAX_FILE_BYTES, kept_archives: int = KEPT_ARCHIVES) -> None:
        self.live = live
        self._max_file_bytes = max_file_bytes
        self._kept_archives = kept_archives

    def pieces(self) -> list[Piece]:
        """What there is, oldest first; the live file last, unless it does not exist."""
        found = self._archived()
        base = found[-1].start + found[-1].size if found else 0
        live = _piece(self.live, base)
        return found if live is None else [*found, live]

    def end(self) -> int:
        """The position after the last byte."""
        pieces = self.pieces()
        return pieces[-1].start + pieces[-1].size if pieces else 0

    def read(self, position: int, max_bytes: int) -> tuple[bytes, int]:
        """Up to `max_bytes` from `position` (or from the oldest byte left), and the position after them."""
        for piece in self.pieces():
            if position < piece.start + piece.size:
                position = max(position, piece.start)
                with piece.path.open("rb") as file:
                    file.seek(position - piece.start)
                    data = file.read(min(max_bytes, piece.start + piece.size - position))
                return data, position + len(data)
        return b"", position

    def append(self, line: str) -> None:
        """Write one line, whole, between those of the other writers."""
        descriptor = os.open(self.live, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.rstrip("\n").encode(errors="backslashreplace") + b"\n")
        finally:
            os.close(descriptor)

    def rotate(self) -> bool:
        """Move the head of a live file that has grown too large into an archive. Returns whether it did.

        Nothing may read the stream meanwhile (between the two steps bytes are there twice), so readers live in the
        process that rotates, and this does not yield.
        """
        try:
            size = self.live.stat().st_size
        except OSError:
            return False
        if size < self._max_file_bytes:
            return False
        archives = self._archived()  # not from the live file's end: it grows while we look
        base = archives[-1].start + archives[-1].size if archives else 0
        with self.live.open("r+b") as live:
            block = os.fstat(live.fileno()).st_blksize
            cut = (size - 1) // block * block  # whole blocks, and one byte has to stay: the file system asks for both
            # A writer that outruns us keeps only its newest bytes, or the disk would be full.
            kept = min(cut, self._max_file_bytes * self._kept_archives)
            archive = self._archive(live.fileno(), base + cut - kept, cut - kept, kept)
            if not _collapse(live.fileno(), cut):
                _move_tail(live.fileno(), archive, cut)
        for old in self._archives()[: -self._kept_archives]:
            old.unlink(missing_ok=True)
        return True

    def delete(self) -> int:
        """Remove the live file and its archives. Returns the bytes freed."""
        freed = 0
        for piece in self.pieces():
            piece.path.unlink(missing_ok=True)
            freed += piece.size
        return freed

    def _archived(self) -> list[Piece]:
        return [piece for path in self._archives() if (piece := _piece(path, _archive_start(path))) is not None]

    def _archives(self) -> list[Path]:
        prefix = self.live.name + "."
        try:
            names = os.listdir(self.live.parent)
        except OSError:
            return []
        archives = (name for name in names if name.startswith(prefix) and name[len(prefix) :].isdecimal())
        return [self.live.parent / name for name in sorted(archives)]

    def _archive(self, live: int, start: int, offset: int, length: int) -> Path:
        final = self.live.parent / f"{self.live.name}.{start:0{_DIGITS}d}"
        unfinished = self.live.parent / f"{self.live.name}.unfinished"
        with unfinished.open("wb") as file:
            _copy(live, file.fileno(), offset, length)
        unfinished.replace(final)
        return final


def _piece(path: Path, start: int) -> Piece | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return Piece(path, start, found.st_size, found.st_mtime)


def _archive_start(path: Path) -> int:
    return int(path.name.rpartition(".")[2])


def _copy(source: int, target: int, offset: int, length: int) -> None:
    while length > 0:
        data = os.pread(source, min(length, 1 << 20), offset)
        if not data:
            return
        os.write(target, data)
        offset, length = offset + len(data), length - len(data)


def _collapse(descriptor: int, length: int) -> bool:
    """Cut the first `length` bytes off in one step, whatever is appended meanwhile. False: not on this file system."""
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return False
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    return bool(fallocate(descriptor, _FALLOC_FL_COLLAPSE_RANGE, 0, length) == 0)


def _move_tail(live: int, archive: Path, offset: int) -> None:
    """Copy what was appended meanwhile, then truncate: only a write between the last two calls can be lost."""
    with archive.open("ab") as file:
        while (size := os.fstat(live).st_size) > offset:
            _copy(live, file.fileno(), offset, size - offset)
            offset = size
        os.ftruncate(live, 0)
