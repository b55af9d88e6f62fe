"""pandas.DataFrame from JSON, CSV, Parquet and Arrow; and back.

Columnar formats name sizes that their bytes need not have, so what a body would become is estimated first. Arrow's
tables are checked whole before pandas sees them: offsets of a stranger may point anywhere in memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.typed.decoder import MAX_DECODED_BYTES, Decoder, Schema, damaged, invalid, only_file, too_large

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
_BY_SUFFIX = {
    ".csv": CSV,
    ".parquet": PARQUET,
    ".arrow": ARROW_FILE,
    ".feather": ARROW_FILE,
    ".json": "application/json",
}
_CELL_BYTES = 8
_SAFE_PYARROW = (14, 0, 1)  # older ones run code that a file brings
_MAX_COLUMNS = 100_000


class Frames(Decoder):
    """A table. JSON is a list of records, or an object of columns."""

    slow_above_bytes = 16 * 1024
    requires_body = True

    def __init__(self) -> None:
        self._pandas: Any = importlib.import_module("pandas")
        self._has_arrow = has_arrow()

    def decode(self, content_type: bytes | None, body: bytes) -> Any:
        media_type = "application/json" if content_type is None else payloads.media_type_of(content_type)
        if media_type == CSV:
            return self._from_csv(body, payloads.charset_of(content_type or b""))
        if media_type in (PARQUET, ARROW_STREAM, ARROW_FILE) and self._has_arrow:
            return _from_arrow(media_type, body)
        if payloads.is_json(media_type):
            return self._from_json(body)
        raise self.unsupported(content_type)

    def decode_form(self, form: Any) -> Any:
        """By the file's own content type, or by its name's ending where that says nothing."""
        file = only_file(form)
        given = (file.content_type or "").encode("latin-1", "replace")
        media_type = payloads.media_type_of(given)
        if media_type in ("", "application/octet-stream", "text/plain"):
            suffix = re.sub(r".*(?=\.)", "", (file.filename or "").lower(), flags=re.DOTALL)
            given = _BY_SUFFIX.get(suffix, media_type).encode()
        return self.decode(given, file.file.read())

    def media_types(self) -> Mapping[str, Schema]:
        file: Schema = {"type": "string", "format": "binary"}
        form: Schema = {"type": "object", "properties": {"file": file}, "required": ["file"]}
        binary = (PARQUET, ARROW_STREAM, ARROW_FILE) if self._has_arrow else ()
        return {
            "application/json": RECORDS_OR_COLUMNS,
            CSV: {"type": "string"},
            **dict.fromkeys(binary, file),
            "multipart/form-data": form,
        }

    def _from_json(self, body: bytes) -> Any:
        value = payloads.parse_json(body)
        n_cells = _check_records(value) if isinstance(value, list) else _check_columns(value)
        _bound(n_cells)
        return self._pandas.DataFrame(value)

    def _from_csv(self, body: bytes, charset: str) -> Any:
        text = payloads.decode_text(body, charset).replace("\r\n", "\n").replace("\r", "\n")
        n_columns, n_rows = _widest(text), text.count("\n")
        # A row that is shorter than the header is filled up: few bytes could become very many cells.
        if n_columns > _MAX_COLUMNS or n_rows * n_columns > 2 * len(body) + _MAX_COLUMNS:
            raise damaged("CSV", f"{n_rows} rows for {n_columns} columns are more than its {len(body)} bytes can hold")
        _bound(min(n_rows, len(body)) * n_columns)
        try:
            frame = self._pandas.read_csv(io.StringIO(text))
        except Exception as exc:  # pandas has no common root for what it thinks of a file
            raise damaged("CSV", exc) from exc
        if not frame.index.equals(self._pandas.RangeIndex(len(frame))):  # pandas takes first fields for names of rows
            raise damaged("CSV", "its rows have more fields than its header")
        return frame


RECORDS_OR_COLUMNS: Schema = {
    "anyOf": [
        {"type": "array", "items": {"type": "object"}, "description": "one object per row"},
        {"type": "object", "additionalProperties": {"type": "array"}, "description": "one list per column"},
    ]
}


@cache
def has_arrow() -> bool:
    """Whether there is a pyarrow that may be trusted with what strangers send."""
    if importlib.util.find_spec("pyarrow") is None:
        return False
    version = str(importlib.import_module("pyarrow").__version__)
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3]) >= _SAFE_PYARROW


# --- CSV -------------------------------------------------------------------------------------------------------
_FIELD = r'(?:"(?:[^"]|"")*+(?:"[^,\n]*+|\Z)|[^,\n]*+)'
_RECORD = re.compile(
    rf"\ufeff?(?:[ \t]*+\n)*+[ \t]*+({_FIELD}(?:,{_FIELD})*+)"
)  # after blank lines, which count as none


def _widest(text: str) -> int:
    """At least the columns that pandas will make: of the header, or of the first row, to which others are filled up."""
    header = _RECORD.match(text)
    row = _RECORD.match(text, header.end()) if header else None
    return 1 + max((found[1].count(",") for found in (header, row) if found), default=0)


# --- JSON ------------------------------------------------------------------------------------------------------
def _check_records(value: list[Any]) -> int:
    """How many cells the table will have. Raises RequestError (422)."""
    names: set[str] = set()
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise invalid([{"loc": [index], "msg": "Input should be an object, a row by column", "type": "dict_type"}])
        names.update(row)
    return len(value) * len(names)


def _check_columns(value: Any) -> int:
    if not isinstance(value, dict):
        message = "Input should be a list of rows (objects), or an object of columns (lists)"
        raise invalid([{"loc": [], "msg": message, "type": "table_type"}])
    lengths = set()
    for name, column in value.items():
        if not isinstance(column, list):
            raise invalid([{"loc": [name], "msg": "Input should be a list, the column's values", "type": "list_type"}])
        lengths.add(len(column))
        if len(lengths) > 1:
            message = "Columns should be of the same length"
            raise invalid([{"loc": [name], "msg": message, "type": "column_length"}])
    return len(value) * max(lengths, default=0)


def _bound(n_cells: int) -> None:
    if n_cells * _CELL_BYTES > MAX_DECODED_BYTES:
        raise too_large(f"the table has {n_cells} cells")


# --- Parquet and Arrow -----------------------------------------------------------------------------------------
def _from_arrow(media_type: str, body: bytes) -> Any:
    try:
        pyarrow = importlib.import_module("pyarrow")
        if media_type == PARQUET:
            table, schema = _read_parquet(pyarrow, body)
        else:
            table, schema = _read_ipc(pyarrow, media_type, body), None
        table.validate(full=True)
        for field in table.schema:
            _check_type(pyarrow, field)
        _bound(table.num_rows * max(1, table.num_columns))
        _bound_strings(pyarrow, table)
        return (table if schema is None else table.cast(schema)).to_pandas()
    except RequestError:
        raise
    except Exception as exc:  # of a body from anywhere: pyarrow's errors, NumPy's, pandas', those of time zones
        raise damaged("Parquet" if media_type == PARQUET else "Arrow", exc) from exc


def _read_parquet(pyarrow: Any, body: bytes) -> tuple[Any, Any]:
    """The table, with indices for strings, and the schema it is to have."""
    parquet = importlib.import_module("pyarrow.parquet")
    file = parquet.ParquetFile(pyarrow.BufferReader(body))
    found = file.metadata
    _bound(found.num_rows * max(1, found.num_columns))
    groups = [found.row_group(index) for index in range(found.num_row_groups)]
    n_bytes = sum(group.column(index).total_uncompressed_size for group in groups for index in range(group.num_columns))
    if n_bytes > MAX_DECODED_BYTES:
        raise too_large(f"the table has {n_bytes} bytes")
    # Strings stay indices into their dictionary until their sum is known: one long one may be repeated for ever.
    strings = [field.name for field in file.schema_arrow if _is_text(pyarrow, field.type)]
    table = parquet.ParquetFile(pyarrow.BufferReader(body), read_dictionary=strings).read()
    return table, file.schema_arrow


def _read_ipc(pyarrow: Any, media_type: str, body: bytes) -> Any:
    open_reader = pyarrow.ipc.open_file if media_type == ARROW_FILE else pyarrow.ipc.open_stream
    return open_reader(pyarrow.BufferReader(body)).read_all()


def _is_text(pyarrow: Any, of: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_string(of) or types.is_large_string(of) or types.is_binary(of) or types.is_large_binary(of))


def _check_type(pyarrow: Any, field: Any) -> None:
    """Plain columns and lists of them. Others may be larger than their bytes, or are not known to pandas."""
    of, types = field.type, pyarrow.types
    if types.is_list(of) or types.is_large_list(of) or types.is_fixed_size_list(of):
        of = of.value_type
        plain = types.is_primitive(of) or _is_text(pyarrow, of)
    else:
        if types.is_dictionary(of):
            of = of.value_type
        plain = types.is_primitive(of) or types.is_decimal(of) or types.is_null(of) or _is_text(pyarrow, of)
    if not plain:
        message = f"Columns of type {str(field.type)[:100]} are not taken"
        raise invalid([{"loc": [field.name], "msg": message, "type": "column_type"}])


def _bound_strings(pyarrow: Any, table: Any) -> None:
    """What the strings of dictionaries would be, written out."""
    compute = importlib.import_module("pyarrow.compute")
    n_bytes = 0
    for column in table.columns:
        if pyarrow.types.is_dictionary(column.type) and _is_text(pyarrow, column.type.value_type):
            for chunk in column.chunks:
                lengths = compute.binary_length(chunk.dictionary)
                n_bytes += compute.sum(compute.take(lengths, chunk.indices)).as_py() or 0
    if n_bytes > MAX_DECODED_BYTES:
        raise too_large(f"the table has strings of {n_bytes} bytes")


# --- back ------------------------------------------------------------------------------------------------------
def to_csv(frame: Any) -> bytes:
    """Without the index: it is rarely data, and `reset_index()` makes it so."""
    text: str = frame.to_csv(index=False)
    return text.encode("utf-8", "replace")


def to_arrow(frame: Any, media_type: str) -> bytes:
    """Parquet, an Arrow stream or an Arrow file. Raises pyarrow's errors for objects that Arrow does not know."""
    pyarrow = importlib.import_module("pyarrow")
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    sink = pyarrow.BufferOutputStream()
    if media_type == PARQUET:
        importlib.import_module("pyarrow.parquet").write_table(table, sink)
    else:
        open_writer = pyarrow.ipc.new_file if media_type == ARROW_FILE else pyarrow.ipc.new_stream
        with open_writer(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue())
