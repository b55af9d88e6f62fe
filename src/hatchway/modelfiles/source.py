"""Bytes of a file in order, unpacked where it is compressed; bounded, and cut off means `CutOff`."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from hatchway.errors import ModelFileError

MAX_UNPACKED_BYTES = 8 * 1024**3
HARMLESS_UNPACKED_BYTES = 256 * 1024**2
MAX_RATIO = 250  # of unpacked to packed bytes, beyond that size
MAX_LINE_BYTES = 64 * 1024**2
_CHUNK_BYTES = 256 * 1024
_MAX_TEXT_BYTES = 16 * 1024**2


class CutOff(Exception):
    """The bytes end before what they announce."""


class Bomb(Exception):
    """The bytes unpack to far more than a model would."""


def compression_of(head: bytes) -> str:
    """ "gzip", "zlib", "bz2", "xz", "lzma", "lz4", or "" for none that is known."""
    for name, magic in (("gzip", b"\x1f\x8b"), ("xz", b"\xfd7zXZ\0"), ("bz2", b"BZh"), ("lz4", b"\x04\x22\x4d\x18")):
        if head.startswith(magic):
            return name
    if head.startswith(b"\x5d\0\0"):
        return "lzma"
    if len(head) > 1 and head[0] == 0x78 and (head[0] << 8 | head[1]) % 31 == 0:
        return "zlib"
    return ""


def open_unpacked(path: Path, compression: str) -> BinaryIO:
    """The file's content. Raises OSError; reading raises what the compression's module does, see `PACKING_ERRORS`."""
    if compression == "gzip":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if compression == "bz2":
        return cast("BinaryIO", bz2.open(path, "rb"))
    if compression in ("xz", "lzma"):
        return cast("BinaryIO", lzma.open(path, "rb"))
    if compression == "zlib":
        return cast("BinaryIO", io.BufferedReader(_ZlibReader(path), _CHUNK_BYTES))
    return open(path, "rb")


PACKING_ERRORS = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError, ValueError)


class _ZlibReader(io.RawIOBase):
    """What joblib writes for compress=3: one zlib stream."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)
        self._zlib = zlib.decompressobj()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of any buffer
        while not self._zlib.eof:
            data = self._waiting or self._file.read(_CHUNK_BYTES)
            if not data:
                raise EOFError("the compressed data ends too early")
            unpacked = self._zlib.decompress(data, len(buffer))
            self._waiting = self._zlib.unconsumed_tail
            if unpacked:
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()


class Source:
    """Reads forward. `position` counts unpacked bytes."""

    def __init__(self, file: BinaryIO, packed_bytes: int, *, is_packed: bool) -> None:
        self._file = file
        unpacked = min(max(HARMLESS_UNPACKED_BYTES, packed_bytes * MAX_RATIO), MAX_UNPACKED_BYTES)
        self._limit = unpacked if is_packed else packed_bytes
        self._is_packed = is_packed
        self.position = 0

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        self._advance(count)
        data = self._file.read(count)
        if len(data) < count:
            raise CutOff
        return data

    def skip(self, count: int) -> None:
        self._advance(count)
        if not self._is_packed:
            self._file.seek(count, io.SEEK_CUR)
            return
        while count > 0:
            data = self._file.read(min(count, _CHUNK_BYTES))
            if not data:
                raise CutOff
            count -= len(data)

    def line(self) -> bytes:
        """Up to and without the next newline."""
        data = self._file.readline(MAX_LINE_BYTES)
        self._advance(len(data))
        if not data.endswith(b"\n"):
            raise CutOff
        return data[:-1]

    def finish(self) -> None:
        """Unpack the rest: only its end says whether packed data is whole."""
        while self._is_packed and (data := self._file.read(_CHUNK_BYTES)):
            self._advance(len(data))

    def _advance(self, count: int) -> None:
        self.position += count
        if self.position > self._limit:
            raise Bomb if self._is_packed else CutOff


def read_text(file: Path) -> str:
    """Raises ModelFileError (Damaged) for what is larger than a file for people can be."""
    with open(file, "rb") as opened:
        data = opened.read(_MAX_TEXT_BYTES + 1)
    if len(data) > _MAX_TEXT_BYTES:
        raise ModelFileError(f"{file.name} is larger than such a file can be", reason="Damaged")
    return data.decode("utf-8")
