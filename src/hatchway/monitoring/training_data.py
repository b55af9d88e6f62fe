"""Training data, as CSV or Parquet, read into the sketches that live fields are compared with.

Row by row, in bounded memory, and the file is never changed. Which column belongs to which field:

- A column `age` is the field `input.age`; `user.age` is `age` of the object `user`. Names that begin with `input.` or
  are or begin with `output` are taken as they are: a file may hold the model's answers too.
- For payloads that are lists of numbers, the columns are also known by their place, `input.0` first.
- Where texts are longer than the 64 characters that are kept, live fields are the lengths of texts,
  `input.comment.length`; so are columns.
- Columns that no request has, a target say, are compared with nothing.

CSV has no types: cells are taken for what they look like. Empty cells and the usual words for nothing are missing. A
number that begins with a needless 0 is a text, as zip codes are. Parquet has types, and is read by PyArrow if there is
one.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hatchway.monitoring.sketches import MAX_TEXT_CHARS, Column, FieldSketch

ROWS_AT_ONCE = 4096
MAX_COLUMNS = 1000  # 10 kB each
MAX_LINE_CHARS = 1024 * 1024

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nil"})
_BOOLEANS = {"true": True, "false": False}
# float() takes more than tables mean: 1_000, +5, 007 and words. Two looks at a column's cells, each of them after a
# line break, rule that out much faster than looking at every cell.
_IN_NUMBERS = str.maketrans("", "", "0123456789.-eE \n")
_NEEDLESS_ZERO = re.compile(r"\n *-?0\d")


class UnusableData(ValueError):
    """A file that cannot be read as training data; the message names file, row and column, and what would help."""


def read(path: Path, should_stop: Callable[[], bool] = lambda: False) -> dict[str, FieldSketch]:
    """Field -> what the file says of it. Raises UnusableData, also when told to stop before the end, and OSError."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        columns = _Columns(path, should_stop)
        for row, names, cells in _csv_columns(path):
            columns.add(names, [_of_cells(column) for column in cells], row)
    elif suffix in (".parquet", ".pq"):
        columns = _Columns(path, should_stop)
        for row, names, values in _parquet_columns(path):
            columns.add(names, values, row)
    else:
        raise UnusableData(f"{path.name}: training data is read from .csv and .parquet files")
    return columns.fields()


class _Columns:
    def __init__(self, path: Path, should_stop: Callable[[], bool]) -> None:
        self._path = path
        self._should_stop = should_stop
        self._names: list[str] = []
        self._sketches: list[FieldSketch] = []

    def add(self, names: Sequence[str], columns: Sequence[Column], row: int) -> None:
        if self._should_stop():
            raise UnusableData(f"{self._path.name}: not read to its end")
        if not self._names:
            self._begin(names)
        for name, column, sketch in zip(names, columns, self._sketches, strict=True):
            try:
                sketch.update(column)
            except (TypeError, ValueError) as error:
                raise UnusableData(f"{self._path.name}, column {name}, from row {row} on: {error}") from error

    def fields(self) -> dict[str, FieldSketch]:
        if not self._sketches or not self._sketches[0].count:
            raise UnusableData(f"{self._path.name}: no rows, so nothing to compare with")
        found = dict(_fields(self._names, self._sketches))
        places = dict(_fields([f"input.{place}" for place in range(len(self._names))], self._sketches))
        return {**places, **found}

    def _begin(self, names: Sequence[str]) -> None:
        if len(names) > MAX_COLUMNS:
            raise UnusableData(f"{self._path.name}: {len(names)} columns, at most {MAX_COLUMNS} are read")
        for place, name in enumerate(names, 1):
            if not name:
                raise UnusableData(f"{self._path.name}: column {place} has no name")
            if name in names[place:]:
                raise UnusableData(f"{self._path.name}: two columns are named {name}")
        self._names = [_field_name(name) for name in names]
        self._sketches = [FieldSketch() for _ in names]


def _field_name(column: str) -> str:
    is_field = column == "output" or column.startswith(("input.", "output."))
    return column if is_field else f"input.{column}"


def _fields(names: Sequence[str], sketches: Sequence[FieldSketch]) -> Iterator[tuple[str, FieldSketch]]:
    for name, sketch in zip(names, sketches, strict=True):
        if sketch.texts is not None and sketch.texts.lengths.high > MAX_TEXT_CHARS:
            yield f"{name}.length", sketch.as_lengths()
        else:
            yield name, sketch


# --- CSV -----------------------------------------------------------------------------------------------------
def _csv_columns(path: Path) -> Iterator[tuple[int, list[str], list[tuple[str, ...]]]]:
    """The line in which rows begin, the header, and some rows as columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(_lines(path, file))
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            while True:
                first_line = reader.line_num + 1
                rows = [row for row in islice(reader, ROWS_AT_ONCE) if row]
                if not rows:
                    return
                for row in rows:
                    if len(row) != len(header):
                        _tell_uneven(path, first_line, header)
                yield first_line, header, list(zip(*rows, strict=True))
        except UnicodeDecodeError as error:
            raise UnusableData(
                f"{path.name}, line {_first_not_utf8(path)}: not UTF-8 ({error.reason}); save it as UTF-8"
            ) from error
        except csv.Error as error:
            raise UnusableData(f"{path.name}, line {reader.line_num}: {error}") from error


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """One by one; a file without line breaks is not read into memory."""
    for number in count(1):
        line = file.readline(MAX_LINE_CHARS + 1)
        if len(line) > MAX_LINE_CHARS:
            raise UnusableData(f"{path.name}, line {number}: longer than {MAX_LINE_CHARS:,} characters")
        if not line:
            return
        yield line


def _first_not_utf8(path: Path) -> int:
    with path.open("rb") as file:
        for number in count(1):
            line = file.readline(MAX_LINE_CHARS)
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
            if not line:
                return number
    raise AssertionError


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise UnusableData(f"{path.name}: empty; the first line must name the columns")
    other = next((mark for mark in (";", "\t", "|") if mark in header[0]), None)
    if len(header) == 1 and other is not None:
        raise UnusableData(
            f"{path.name}: one column, named {header[0]!r}; columns are separated by commas, not by {other!r}"
        )
    if all(isinstance(_of_cell(name), float) for name in header):
        raise UnusableData(f"{path.name}: the first line must name the columns, it holds only numbers")


def _tell_uneven(path: Path, from_line: int, header: Sequence[str]) -> None:
    """Read again for the line of the first row that has another number of cells."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for row in reader:
            if row and reader.line_num >= from_line and len(row) != len(header):
                raise UnusableData(
                    f"{path.name}, line {reader.line_num}: {len(row)} cells, but {len(header)} columns "
                    f"({header[0]} to {header[-1]}); is a comma in a text without quotes?"
                )


def _of_cells(cells: Sequence[str]) -> Column:
    if _may_be_numbers("\n" + "\n".join(cells)):
        try:
            return np.array(cells, dtype=np.float64)
        except ValueError:
            pass
    return [_of_cell(cell) for cell in cells]


def _may_be_numbers(lines: str) -> bool:
    return not lines.translate(_IN_NUMBERS) and not _NEEDLESS_ZERO.search(lines)


def _of_cell(cell: str) -> float | bool | str | None:
    word = cell.strip()
    if word.lower() in _MISSING:
        return None
    if word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    if _may_be_numbers("\n" + word):
        try:
            return float(word)
        except ValueError:
            pass
    return cell


# --- Parquet -------------------------------------------------------------------------------------------------
def _parquet_columns(path: Path) -> Iterator[tuple[int, list[str], list[Column]]]:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UnusableData(
            f"{path.name}: Parquet is read by PyArrow, which is not installed beside Hatchway; install pyarrow, "
            "or save the data as CSV"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            row = 1
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                yield row, list(batch.schema.names), [_of_arrow(arrow, column) for column in batch.columns]
                row += batch.num_rows
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise UnusableData(f"{path.name}: not a whole Parquet file: {error}") from error


def _of_arrow(arrow: Any, column: Any) -> Column:
    kind = column.type
    if arrow.types.is_floating(kind) or arrow.types.is_integer(kind):
        doubles: Column = column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        return doubles
    return [_of_object(value) for value in column.to_pylist()]


def _of_object(value: object) -> object:
    """As JSON would have it: times and dates are texts."""
    if isinstance(value, Decimal):
        return float(value)
    if value is None or isinstance(value, (bool, int, float, str, Mapping, list)):
        return value
    return str(value)
