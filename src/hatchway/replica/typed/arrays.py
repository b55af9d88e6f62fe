"""numpy.ndarray from nested lists of numbers in JSON, or from .npy; and back.

A .npy header is read here and not by NumPy: it may claim any shape, and no memory is taken for more than the body has.
Missing numbers: JSON has no NaN, so null stands for it, in both directions.
"""

from __future__ import annotations

import ast
import importlib
import io
import math
import typing
from collections.abc import Mapping
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.typed.decoder import Decoder, Schema, damaged, invalid, only_file

NPY = "application/x-npy"
_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
_MAX_EMPTY_ROWS = 2**20  # of shapes such as (n, 0), which need no bytes but become lists as long
_NUMBERS = "biufc"  # kinds of dtypes: "c" is complex


class Arrays(Decoder):
    """`dtype` is what the annotation names, or None: NDArray[np.float32] converts where no value changes."""

    slow_above_bytes = 64 * 1024
    requires_body = True

    def __init__(self, dtype: Any) -> None:
        self._numpy: Any = importlib.import_module("numpy")
        self._dtype = None if dtype is None else self._numpy.dtype(dtype)

    def decode(self, content_type: bytes | None, body: bytes) -> Any:
        media_type = "application/json" if content_type is None else payloads.media_type_of(content_type)
        if media_type == NPY or (media_type == "application/octet-stream" and body.startswith(_MAGIC)):
            return self._converted(from_npy(self._numpy, body))
        if payloads.is_json(media_type):
            return self._converted(self._from_json(body))
        raise self.unsupported(content_type)

    def decode_form(self, form: Any) -> Any:
        return self._converted(from_npy(self._numpy, only_file(form).file.read()))

    def media_types(self) -> Mapping[str, Schema]:
        file: Schema = {"type": "string", "format": "binary", "description": "an array written by numpy.save"}
        form: Schema = {"type": "object", "properties": {"file": file}, "required": ["file"]}
        return {"application/json": NESTED_NUMBERS, NPY: file, "multipart/form-data": form}

    def _from_json(self, body: bytes) -> Any:
        value = payloads.parse_json(body)
        if b'"' in body:  # NumPy would make room for the longest string at every place of the array
            raise invalid([_not_a_number(value)])
        try:
            found = self._numpy.array(value)
            return found.astype(self._numpy.float64) if found.dtype.kind not in _NUMBERS else found
        except (ValueError, TypeError, OverflowError, RecursionError) as exc:
            message = f"Input should be numbers, or lists of the same length of them: {exc}"
            raise invalid([{"loc": [], "msg": message, "type": "array_shape"}]) from exc

    def _converted(self, array: Any) -> Any:
        wanted = self._dtype
        if wanted is None or array.dtype == wanted:
            return array
        whole = array.dtype.kind in "iu" and wanted.kind in "iu"
        if not whole and self._numpy.can_cast(array.dtype, wanted, "same_kind"):
            with self._numpy.errstate(all="ignore"):  # a float too large for a smaller type becomes infinite
                return array.astype(wanted)
        if array.dtype.kind in _NUMBERS and wanted.kind in _NUMBERS and "c" not in (array.dtype.kind, wanted.kind):
            with self._numpy.errstate(all="ignore"):
                found = array.astype(wanted)
            if bool((found == array).all()):
                return found
        message = f"Input should be an array of {wanted.name}; this one of {array.dtype.name} would change"
        raise invalid([{"loc": [], "msg": message, "type": "array_dtype"}])


NESTED_NUMBERS: Schema = {
    "type": ["array", "number", "boolean", "null"],
    "items": {},
    "description": "numbers, or nested lists of them of equal lengths; null is NaN",
}


def dtype_of(annotation: Any) -> Any:
    """The dtype that `numpy.typing.NDArray[np.float32]` names; None of a plain ndarray."""
    for argument in typing.get_args(annotation)[1:]:
        for scalar in typing.get_args(argument):
            if isinstance(scalar, type) and scalar is not Any and scalar.__name__ not in _ABSTRACT:
                return scalar
    return None


_ABSTRACT = frozenset(
    {"generic", "number", "integer", "signedinteger", "unsignedinteger", "inexact", "floating", "complexfloating"}
)


def from_npy(numpy: Any, body: bytes) -> Any:
    """A writable array. Raises RequestError (400): without pickles, and of exactly the size that its header says."""
    try:
        dtype, shape, order, start = _read_header(numpy, body)
        return numpy.frombuffer(bytearray(memoryview(body)[start:]), dtype).reshape(shape, order=order)
    except RequestError:
        raise
    except Exception as exc:  # NumPy and ast have many words for a wrong header
        raise damaged(".npy", exc) from exc


def _read_header(numpy: Any, body: bytes) -> tuple[Any, tuple[int, ...], str, int]:
    if not body.startswith(_MAGIC) or len(body) < 12 or body[6] not in (1, 2, 3):
        raise damaged(".npy", "it does not begin as .npy files of version 1 to 3 do")
    start = 10 if body[6] == 1 else 12
    end = start + int.from_bytes(body[8:start], "little")
    if not start < end <= min(len(body), start + _MAX_HEADER_BYTES):
        raise damaged(".npy", "its header is cut off, or too long")
    header = ast.literal_eval(body[start:end].decode("utf-8" if body[6] == 3 else "latin-1").strip())
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise damaged(".npy", "its shape is not a tuple of sizes")
    dtype = numpy.lib.format.descr_to_dtype(header["descr"])
    if dtype.hasobject:
        raise damaged(".npy", "it holds Python objects, which are never unpickled here")
    if not dtype.itemsize:
        raise damaged(".npy", "its elements have no size")
    if 0 in shape and math.prod(size or 1 for size in shape) > _MAX_EMPTY_ROWS:
        raise damaged(".npy", "it has too many rows for an array without elements")
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes != len(body) - end:
        raise damaged(".npy", f"its header says {n_bytes} bytes of data, and {len(body) - end} follow")
    return dtype, shape, "F" if header["fortran_order"] is True else "C", end


def to_npy(array: Any) -> bytes:
    """Raises ValueError for an array of Python objects."""
    numpy: Any = importlib.import_module("numpy")
    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _not_a_number(value: Any) -> dict[str, object]:
    """Where the first string or object stands."""
    stack: list[tuple[Any, tuple[int, ...]]] = [(value, ())]
    while stack:
        found, loc = stack.pop()
        if isinstance(found, (str, dict)):
            what = "a string" if isinstance(found, str) else "an object"
            return {"loc": list(loc), "msg": f"Input should be a number, not {what}", "type": "number_type"}
        if isinstance(found, list):
            stack.extend((item, (*loc, index)) for index, item in reversed(list(enumerate(found))))
    return {"loc": [], "msg": "Input should be numbers", "type": "number_type"}
