"""Unpickles what the table of known names allows, and nothing else.

A file is scanned first (`modelfiles`); this is the second gate, of the same rules, on real objects: where scanner and
unpickler understood a file differently, nothing is lost. So it is Python's own unpickler and not C's: it calls nothing
but what it has handed out itself under a known name, gives each object one state, and adds to plain containers only.
joblib's raw arrays between the opcodes are read here and not by joblib, which would hand an array of objects to an
unpickler without any rule.
"""

from __future__ import annotations

import codecs
import functools
import importlib
import math
import pickle
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from hatchway.modelfiles.known_globals import ARRAY_WRAPPERS, is_known, may_call, python3_name
from hatchway.modelfiles.pickles import CHOICES, CHOOSERS, MEMORY, PARTIAL, Name
from hatchway.modelfiles.source import compression_of, open_unpacked


class Forbidden(pickle.UnpicklingError):
    """Something that may run code of the file's choosing."""


def load_plain(path: Path) -> Any:
    """A file that is not packed. Raises Forbidden, and whatever damaged or old files raise."""
    with open(path, "rb") as file:
        return _Unpickler(file).load()


def load_joblib(path: Path) -> Any:
    """A file of joblib's, packed or not. Raises as `load_plain`."""
    with open(path, "rb") as file:
        compression = compression_of(file.read(64))
    with open_unpacked(path, compression) as file:
        return _Unpickler(file).load()


def _find(module: str, name: str) -> Any:
    module = python3_name(module)
    if not is_known(module, name):
        raise Forbidden(f"{module}.{name} is not on the list of known-safe names")
    if (module, name) in ARRAY_WRAPPERS:
        return _RawArray
    if (module, name) == ("_codecs", "encode"):
        return _encode_latin1
    if (module, name) == ("pyarrow.lib", "_restore_array"):
        return _restore_arrow
    return getattr(importlib.import_module(module), name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes. Other encodings would import modules."""
    if encoding != "latin1":
        raise Forbidden(f"_codecs.encode with {encoding!r}")
    return codecs.latin_1_encode(text)[0]


def _restore_arrow(content: Any) -> Any:
    """pyarrow believes what a pickle says of lengths and offsets, and would read beyond its buffers."""
    array = importlib.import_module("pyarrow.lib")._restore_array(content)
    array.validate(full=True)
    return array


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
            return _Unpickler(file).load()
        if self.numpy_array_alignment_bytes is not None:
            _read(file, _read(file, 1)[0])
        count = math.prod(self.shape)
        array = numpy.empty(count, dtype)
        _read_into(file, memoryview(array.view(numpy.uint8)) if count and dtype.itemsize else memoryview(b""))
        array = array.reshape(self.shape[::-1]).T if self.order == "F" else array.reshape(self.shape)
        if not dtype.isnative:
            array = array.byteswap().view(dtype.newbyteorder())
        return array


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


class _Unpickler(_PythonUnpickler):  # type: ignore[misc]  # of Any
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._file = file
        self._handed_out: dict[int, tuple[Any, list[Name]]] = {}  # by id; kept, so that no other object has it
        self._built: dict[int, Any] = {}
        self._choosers: list[Any] = []

    def load(self) -> Any:
        found = super().load()
        for chooser in self._choosers:  # at the end: what a state refers to may have grown after it was given
            _check_choices(chooser)
        return found

    # --- names -----------------------------------------------------------------------------------------------
    def find_class(self, module: str, name: str) -> Any:
        found = _find(module, name)
        self._handed_out.setdefault(id(found), (found, []))[1].append(Name(python3_name(module), name))
        return found

    def get_extension(self, code: int) -> None:
        raise Forbidden(f"extension code {code}")

    # --- calls -----------------------------------------------------------------------------------------------
    def _check_call(self, target: Any, arguments: Any) -> None:
        _, names = self._handed_out.get(id(target), (None, []))
        if not names:
            raise Forbidden("a call of something computed while loading")
        told = self._with_names(arguments)
        for name in names:
            if not may_call(name.module, name.name, told) or (arguments and name in CHOOSERS):
                raise Forbidden(f"{name} with arguments that are not checked")

    def _with_names(self, values: Any) -> Any:
        """As the scanner sees them: what was handed out is its name."""
        if type(values) is not tuple:
            return values
        return tuple(self._handed_out[id(value)][1][0] if id(value) in self._handed_out else value for value in values)

    def load_reduce(self) -> None:
        self._check_call(self.stack[-2], self.stack[-1])
        super().load_reduce()
        _check_memory(self.stack[-1])

    def load_newobj(self) -> None:
        self._check_call(self.stack[-2], self.stack[-1])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        self._check_call(self.stack[-3], self.stack[-2])
        super().load_newobj_ex()

    def _instantiate(self, target: Any, arguments: Any) -> None:
        self._check_call(target, tuple(arguments))
        super()._instantiate(target, arguments)

    # --- states ----------------------------------------------------------------------------------------------
    def load_build(self) -> None:
        target = self.stack[-2]
        if id(target) in self._handed_out:
            raise Forbidden(f"a change of {self._handed_out[id(target)][1][0]} itself")
        if id(target) in self._built:
            raise Forbidden("a second state")  # the first may say what the second is given to
        if type(target) is functools.partial:
            state = self._with_names(self.stack[-1])
            if type(state) is not tuple or not may_call(*PARTIAL, state[:1]):
                raise Forbidden(f"{PARTIAL} with a state that is not checked")
        self._built[id(target)] = target
        super().load_build()
        _check_memory(target)
        if Name(type(target).__module__, type(target).__qualname__) in CHOOSERS:
            self._choosers.append(target)
        if type(target) is _RawArray:
            self.stack[-1] = _RawArray.read(target, self._file)  # its own state might say "read"
        elif not _is_honest(target):
            raise Forbidden("a type of array that hides objects")

    # --- containers ------------------------------------------------------------------------------------------
    def _check_container(self, target: Any, kinds: tuple[type, ...]) -> None:
        """Of others an attribute is called, which the object's own state may have set."""
        if type(target) not in kinds:
            raise Forbidden(f"additions to a {type(target).__name__}")

    def load_append(self) -> None:
        self._check_container(self.stack[-2], (list, deque))
        super().load_append()

    def load_appends(self) -> None:
        self._check_container(self.metastack[-1][-1], (list, deque))
        super().load_appends()

    def load_additems(self) -> None:
        self._check_container(self.metastack[-1][-1], (set,))
        super().load_additems()

    def load_setitem(self) -> None:
        self._check_entries(self.stack[-3], self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        self._check_entries(self.metastack[-1][-1], self.stack[::2])
        super().load_setitems()

    def _check_entries(self, target: Any, keys: Sequence[Any]) -> None:
        """Also those of a plain dict: it may be some object's attributes already."""
        if not isinstance(target, dict):
            raise Forbidden(f"entries of a {type(target).__name__}")
        if MEMORY in keys:
            raise Forbidden("an array that lies wherever an attribute says")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_PythonUnpickler.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.ADDITEMS[0]: load_additems,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _check_memory(found: Any) -> None:
    """As soon as an object is there: whatever makes an array of it reads that memory. A Bunch's entries are
    attributes.
    """
    if MEMORY in getattr(found, "__dict__", ()) or (isinstance(found, dict) and MEMORY in found):
        raise Forbidden("an array that lies wherever an attribute says")


def _check_choices(chooser: Any) -> None:
    """scikit-learn goes by texts that such an object holds: they have to be those of honest models."""
    for field in CHOICES.keys() & vars(chooser).keys():
        value = vars(chooser)[field]
        texts = value if isinstance(value, (list, tuple)) else (value,)
        if not all(text is None or (type(text) is str and text in CHOICES[field]) for text in texts):
            raise Forbidden(f"a {type(chooser).__name__} with {field} of its own")


def _is_honest(found: Any) -> bool:
    """Whether a type of NumPy's says so when it holds objects: NumPy believes it, and takes bytes for pointers."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(found, numpy.dtype):
        return True
    parts = [found.subdtype[0]] if found.subdtype else [part[0] for part in (found.fields or {}).values()]
    has_objects = found.kind == "O" or any(part.hasobject for part in parts)
    return all(map(_is_honest, parts)) and found.hasobject == has_objects
