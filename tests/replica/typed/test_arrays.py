from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hatchway.replica.payloads import JSON
from hatchway.replica.typed.arrays import NPY, from_npy, to_npy
from hatchway.replica.typed.decoders import choose
from tests.replica.typed.refusals import places, refused

NPY_TYPE = NPY.encode()


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A file with any header."""
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3.5),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.array(["a", "bc"]),
        np.array([1 + 2j]),
        np.array([1, 2], dtype=">i2"),
        np.array([("x", 1.0)], dtype=[("name", "U3"), ("value", "f8")]),
        np.array(["2026-01-31"], dtype="M8[D]"),
        np.array([float("nan"), float("inf")]),
    ],
)
def test_npy_is_read_as_numpy_reads_it(array: np.ndarray) -> None:
    found = choose(np.ndarray).decode(NPY_TYPE, to_npy(array))
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.flags.writeable


def test_every_version_of_the_format_is_read() -> None:
    for version in ((1, 0), (2, 0), (3, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.arange(3), version=version)
        assert from_npy(np, buffer.getvalue()).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "does not begin"),
        (to_npy(np.arange(9))[:-1], "71 follow"),
        (to_npy(np.arange(9)) + b"x", "73 follow"),
        (to_npy(np.arange(9))[:40], "cut off"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"), "8000000000000 bytes"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", bytes(8)), "sizes"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", bytes(8)), "sizes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "Python objects"),
        (npy("{'descr': '|S0', 'fortran_order': False, 'shape': (10**18,)}"), ""),
        (npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000000000,)}"), "no size"),
        (npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8)), "Python objects"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000, 0)}"), "too many rows"),
        (npy("{'shape': (1,)}", bytes(8)), "descr"),
        (npy("[" * 5000), ""),
        (npy("-" * 9000 + "1"), ""),
        (npy("x" * 60_000), "too long"),
        (npy("__import__('os').abort()"), ""),
    ],
)
def test_a_damaged_npy_is_a_400_and_takes_no_memory(body: bytes, words: str) -> None:
    error = refused(lambda: choose(np.ndarray).decode(NPY_TYPE, body))
    assert error.status == 400
    assert words in error.message


@pytest.mark.parametrize(
    ("body", "expected", "dtype"),
    [
        (b"[1, 2]", [1, 2], "int64"),
        (b"[[1, 2.5], [3, null]]", [[1, 2.5], [3, float("nan")]], "float64"),
        (b"[true, false]", [True, False], "bool"),
        (b"3", 3, "int64"),
        (b"[]", [], "float64"),
        (b"[null, null]", [float("nan")] * 2, "float64"),
        (b"[18446744073709551615]", [2**64 - 1], "uint64"),
    ],
)
def test_nested_lists_become_an_array(body: bytes, expected: object, dtype: str) -> None:
    found = choose(np.ndarray).decode(JSON, body)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == dtype


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"[[1, 2], [3]]", ("", "array_shape")),
        (b'[[1, 2], [3, "x"]]', ("1.1", "number_type")),
        (b'{"a": 1}', ("", "number_type")),
        (b"[{}]", ("", "array_shape")),
        (b"[" * 100 + b"1" + b"]" * 100, ("", "array_shape")),
        (b'["' + b"x" * 1_000_000 + b'"' + b',"a"' * 1_000_000 + b"]", ("0", "number_type")),  # would be 4 TB
    ],
)
def test_what_is_no_array_is_a_422(body: bytes, place: tuple[str, str]) -> None:
    assert places(refused(lambda: choose(np.ndarray).decode(JSON, body))) == [place]


@pytest.mark.parametrize(
    ("annotation", "sent", "expected"),
    [
        (NDArray[np.float32], np.array([1.5]), "float32"),
        (NDArray[np.float32], np.array([1]), "float32"),
        (NDArray[np.uint8], np.array([1.0, 255.0]), "uint8"),
        (NDArray[np.int64], np.array([1], dtype="i1"), "int64"),
        (NDArray[np.floating[Any]], np.array([1], dtype="f2"), "float16"),
        (NDArray[Any], np.array([1], dtype="f2"), "float16"),
    ],
)
def test_the_dtype_of_the_annotation_is_kept_where_no_value_changes(
    annotation: Any, sent: np.ndarray, expected: str
) -> None:
    assert choose(annotation).decode(NPY_TYPE, to_npy(sent)).dtype == expected


@pytest.mark.parametrize("sent", [np.array([1.5]), np.array([256]), np.array([-1]), np.array(["1"]), np.array([1j])])
def test_an_array_that_would_change_is_refused(sent: np.ndarray) -> None:
    error = refused(lambda: choose(NDArray[np.uint8]).decode(NPY_TYPE, to_npy(sent)))
    assert places(error) == [("", "array_dtype")]


def test_other_content_types_are_a_415() -> None:
    error = refused(lambda: choose(np.ndarray).decode(b"text/csv", b"1"))
    assert (error.status, NPY in error.message) == (415, True)
