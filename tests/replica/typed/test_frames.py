from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from hatchway.errors import RequestError
from hatchway.replica.payloads import JSON
from hatchway.replica.typed import decoder
from hatchway.replica.typed.decoders import choose
from hatchway.replica.typed.frames import ARROW_FILE, ARROW_STREAM, CSV, PARQUET, to_arrow, to_csv
from tests.replica.typed.refusals import places, refused

FRAME = pd.DataFrame({"name": ["iris", "rose"], "width": [1.5, float("nan")], "count": [1, 2]})


def decoded(content_type: str, body: bytes) -> Any:
    return choose(pd.DataFrame).decode(content_type.encode(), body)


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'[{"name":"iris","width":1.5,"count":1},{"name":"rose","width":null,"count":2}]'),
        ("application/json", b'{"name":["iris","rose"],"width":[1.5,null],"count":[1,2]}'),
        (CSV, to_csv(FRAME)),
        (f"{CSV}; charset=utf-16", to_csv(FRAME).decode().encode("utf-16")),
        (PARQUET, to_arrow(FRAME, PARQUET)),
        (ARROW_STREAM, to_arrow(FRAME, ARROW_STREAM)),
        (ARROW_FILE, to_arrow(FRAME, ARROW_FILE)),
    ],
)
def test_every_form_of_a_table_becomes_the_same_frame(content_type: str, body: bytes) -> None:
    pd.testing.assert_frame_equal(decoded(content_type, body), FRAME)


def test_what_pandas_writes_comes_back_with_its_index_and_categories() -> None:
    frame = pd.DataFrame({"kind": pd.Categorical(["a", "b"])}, index=pd.Index([3, 5], name="id"))
    pd.testing.assert_frame_equal(decoded(PARQUET, frame.to_parquet()), frame)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        (CSV, b""),
        (CSV, b"a,b\n1,2,3\n4,5\n"),
        (CSV, b'a\n"'),
        (CSV, b"\xff\xfe"),
        (CSV, b"," * 200_000),
        (CSV, b"," * 9_999 + b"\n" * 100_000),  # would be a thousand million cells
        (PARQUET, b""),
        (PARQUET, b"PAR1" + bytes(100) + b"PAR1"),
        (PARQUET, to_arrow(FRAME, PARQUET)[:-20]),
        (PARQUET, to_arrow(FRAME, ARROW_STREAM)),
        (ARROW_STREAM, b""),
        (ARROW_STREAM, to_arrow(FRAME, ARROW_STREAM)[:200]),
        (ARROW_FILE, to_arrow(FRAME, ARROW_FILE)[50:]),
    ],
)
def test_a_damaged_table_is_a_400(content_type: str, body: bytes) -> None:
    assert refused(lambda: decoded(content_type, body)).status == 400


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"1", ("", "table_type")),
        (b'[{"a": 1}, 2]', ("1", "dict_type")),
        (b'{"a": 1}', ("a", "list_type")),
        (b'{"a": [1], "b": [1, 2]}', ("b", "column_length")),
    ],
)
def test_json_that_is_no_table_is_a_422(body: bytes, place: tuple[str, str]) -> None:
    assert places(refused(lambda: choose(pd.DataFrame).decode(JSON, body))) == [place]


NOTHING_REPEATED = pa.table({"a": pa.nulls(100_000_000)})
ONE_LONG_STRING = pa.table({"a": pa.array(["x" * 1_000_000]).dictionary_encode().take(pa.array([0] * 100_000))})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (PARQUET, parquet(NOTHING_REPEATED)),
        (ARROW_STREAM, stream(NOTHING_REPEATED)),
        (ARROW_STREAM, stream(NOTHING_REPEATED.select([]))),
        (PARQUET, parquet(ONE_LONG_STRING)),
        (PARQUET, parquet(ONE_LONG_STRING.replace_schema_metadata(None), store_schema=False)),
        ("application/json", b"[" + b",".join(b'{"c%d":1}' % n for n in range(10_000)) + b"]"),
    ],
    ids=["nulls in Parquet", "nulls", "rows without columns", "string", "string of a foreign writer", "JSON"],
)
def test_a_small_body_that_would_become_a_huge_table_is_a_413(content_type: str, body: bytes) -> None:
    assert len(body) < 2_000_000
    assert decoder.MAX_DECODED_BYTES < 10**9
    assert refused(lambda: decoded(content_type, body)).status == 413


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a": 1}]),
        pa.array([[["x"]]]),
        pa.RunEndEncodedArray.from_arrays([2_000_000_000], [1]),
        pa.array(["x"], pa.string_view()),
    ],
)
def test_columns_of_other_kinds_are_named(column: pa.Array) -> None:
    error = refused(lambda: decoded(ARROW_STREAM, stream(pa.table({"odd": column}))))
    assert places(error) == [("odd", "column_type")]


def test_offsets_that_point_outside_are_found_before_pandas_follows_them() -> None:
    body = bytearray(stream(pa.table({"a": ["one", "two"]})))
    offsets = (0).to_bytes(4, "little") + (3).to_bytes(4, "little") + (6).to_bytes(4, "little")
    at = bytes(body).index(offsets)
    body[at + 8 : at + 12] = (2**30).to_bytes(4, "little")
    assert refused(lambda: decoded(ARROW_STREAM, bytes(body))).status == 400


def test_lists_of_numbers_are_taken() -> None:
    assert decoded(ARROW_STREAM, stream(pa.table({"v": [[1.0, 2.0]]})))["v"][0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("head", ["\n" + "," * 3000, '"\n"' + "," * 3000, "a\n" + "," * 3000, "\r\r" + "," * 3000])
def test_few_bytes_do_not_become_many_cells(head: str) -> None:
    with pytest.raises(RequestError, match="more than its"):
        choose(pd.DataFrame).decode(b"text/csv", (head + "\n" + "1\n" * 3000).encode())
