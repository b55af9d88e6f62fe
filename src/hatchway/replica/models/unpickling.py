"""Unpickles what the table of known names allows, and nothing else.

Two unpicklers of one rule: C's for plain pickles; Python's own for joblib's files, with the raw arrays between the
opcodes read here and not by joblib, which would hand an array of objects to an unpickler without any rule. A file is
scanned first (`modelfiles`), which also refuses calls that `find_class` cannot see.
"""

from __future__ import annotations

import codecs
import importlib
import math
import pickle
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from hatchway.modelfiles.known_globals import ARRAY_WRAPPERS, is_known, python3_name
from hatchway.modelfiles.source import compression_of, open_unpacked


class ForbiddenName(pickle.UnpicklingError):
    """A name outside the table."""


def load_plain(path: Path) -> Any:
    """A pickle without raw arrays. Raises ForbiddenName, and whatever damaged or old files raise."""
    with open(path, "rb") as file:
        return _Plain(file).load()


def load_joblib(path: Path) -> Any:
    """A file of joblib's, packed or not. Raises as `load_plain`."""
    with open(path, "rb") as file:
        compression = compression_of(file.read(64))
    with open_unpacked(path, compression) as file:
        return _WithArrays(file).load()


def _find(module: str, name: str) -> Any:
    module = python3_name(module)
    if not is_known(module, name):
        raise ForbiddenName(f"{module}.{name} is not on the list of known-safe names")
    if (module, name) in ARRAY_WRAPPERS:
        return _RawArray
    if (module, name) == ("_codecs", "encode"):
        return _encode_latin1
    return getattr(importlib.import_module(module), name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes. Other encodings would import modules."""
    if encoding != "latin1":
        raise ForbiddenName(f"_codecs.encode with {encoding!r}")
    return codecs.latin_1_encode(text)[0]


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)


class _RawArray:
    """Stands for joblib's wrapper: what it says of the array that follows in the file."""

    dtype: Any
    shape: tuple[int, ...]
    order: str
    subclass: type
    numpy_array_alignment_bytes: int | None = None

    def read(self, file: BinaryIO) -> Any:
        numpy = importlib.import_module("numpy")
        dtype = self.dtype
        if not isinstance(dtype, numpy.dtype):
            raise pickle.UnpicklingError("an array without a type")
        if dtype.hasobject:
            return _Plain(_Exact(file)).load()
        if self.numpy_array_alignment_bytes is not None:
            _read(file, _read(file, 1)[0])
        count = math.prod(self.shape)
        array = numpy.empty(count, dtype)
        _read_into(file, memoryview(array.view(numpy.uint8)) if count and dtype.itemsize else memoryview(b""))
        array = array.reshape(self.shape[::-1]).T if self.order == "F" else array.reshape(self.shape)
        if not dtype.isnative:
            array = array.byteswap().view(dtype.newbyteorder())
        return array


class _Exact:
    """Reads for C's unpickler exactly what it asks for: the rest of the file is another's."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.readline = file.readline


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("the file ends within an array")
    return data


def _read_into(file: BinaryIO, target: memoryview) -> None:
    while target:
        data = file.read(min(len(target), 16 * 1024**2))
        if not data:
            raise EOFError("the file ends within an array")
        target[: len(data)] = data
        target = target[len(data) :]


_PythonUnpickler: Any = pickle._Unpickler  # undocumented; joblib's own is made of it, too


class _WithArrays(_PythonUnpickler):  # type: ignore[misc]  # of Any
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)

    def load_build(self) -> None:
        super().load_build()
        if type(self.stack[-1]) is _RawArray:
            self.stack[-1] = _RawArray.read(self.stack[-1], self._file)  # its own state might say "read"

    dispatch: ClassVar[dict[int, Any]] = {**_PythonUnpickler.dispatch, pickle.BUILD[0]: load_build}
