"""Training data becomes the sketches of fields; what cannot be read is named."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.training_data import MAX_COLUMNS, ROWS_AT_ONCE, UnusableData, read


def from_csv(tmp_path: Path, text: str, encoding: str = "utf-8") -> dict[str, FieldSketch]:
    file = tmp_path / "train.csv"
    file.write_text(text, encoding=encoding, newline="")
    return read(file)


def from_parquet(tmp_path: Path, columns: dict[str, list[object]]) -> dict[str, FieldSketch]:
    file = tmp_path / "train.parquet"
    parquet.write_table(pa.table(columns), file)
    return read(file)


def test_columns_are_the_fields_of_payloads_by_name_and_by_place(tmp_path: Path) -> None:
    found = from_csv(tmp_path, "age,user.city,output.label,input.x\n31,Rome,yes,1\n47,Oslo,no,2\n")
    assert set(found) == {
        *("input.age", "input.user.city", "output.label", "input.x"),
        *("input.0", "input.1", "input.2", "input.3"),
    }
    assert found["input.age"] is found["input.0"]
    assert found["input.age"].numeric is not None
    assert found["input.age"].numeric.mean == 39


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        *((cell, "number") for cell in ("1", "-1.5", "1e3", " 2 ", "0", "0.5", "-0.5")),
        *((cell, None) for cell in ("", " ", "NA", "NaN", "null", "None", "n/a")),
        *((cell, "boolean") for cell in ("true", "False", "TRUE")),
        *((cell, "string") for cell in ("007", "+4930", "1_000", "x", "12a", "1.2.3", "yes", "0x1f")),
    ],
)
def test_cells_are_what_they_look_like(tmp_path: Path, cell: str, kind: str | None) -> None:
    for others in ("", "5,5\n"):  # among numbers only, and alone
        sketch = from_csv(tmp_path, f"a,b\n{others}{cell},1\n")["input.a"]
        expected = {"number": 1} if others else {}
        if kind is not None:
            expected[kind] = expected.get(kind, 0) + 1
        assert (sketch.types, sketch.missing) == (expected, int(kind is None))


def test_more_rows_than_are_read_at_once(tmp_path: Path) -> None:
    n = 2 * ROWS_AT_ONCE + 10
    found = from_csv(tmp_path, "a,b\n" + "".join(f"{i},t{i % 3}\n" for i in range(n)))
    assert found["input.a"].numeric is not None
    assert found["input.a"].numeric.total == pytest.approx(n * (n - 1) / 2)
    assert found["input.b"].categories is not None
    assert len(found["input.b"].categories.counts) == 3


def test_quotes_empty_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    found = from_csv(tmp_path, '\ufeffa,b\r\n1,"x, ""y""\nz"\r\n\r\n2,w\r\n')
    assert found["input.a"].count == 2
    assert found["input.b"].categories is not None
    assert found["input.b"].categories.counts == {'"x, \\"y\\"\\nz"': 1, '"w"': 1}


def test_long_texts_are_known_by_their_length_as_live_ones_are(tmp_path: Path) -> None:
    found = from_csv(tmp_path, f"comment\nshort\n{'x' * 100}\n\n")
    assert set(found) == {"input.comment.length", "input.0.length"}
    sketch = found["input.comment.length"]
    assert sketch.numeric is not None
    assert (sketch.kind, sketch.numeric.low, sketch.numeric.high, sketch.count) == ("categorical", 5, 100, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "train.csv: empty; the first line must name the columns", id="empty"),
        pytest.param("a,b\n", "train.csv: no rows", id="no rows"),
        pytest.param("1,2\n3,4\n", "the first line must name the columns, it holds only numbers", id="no header"),
        pytest.param("a,,b\n1,2,3\n", "column 2 has no name", id="no name"),
        pytest.param("a,b,a\n1,2,3\n", "two columns are named a", id="twice"),
        pytest.param(
            "a,b\n1,2\n3,4\n5,6,7\n",
            r"train.csv, line 4: 3 cells, but 2 columns \(a to b\); is a comma in a text without quotes\?",
            id="too many cells",
        ),
        pytest.param("a,b\n1\n", "train.csv, line 2: 1 cells, but 2 columns", id="too few cells"),
        pytest.param(f'a\n"{"x" * 200_000}"\n', "train.csv, line 2: field larger than field limit", id="a huge cell"),
        pytest.param(
            "a\n" + "1," * 2_000_000, "train.csv, line 2: longer than 1,048,576 characters", id="no line ends"
        ),
        pytest.param(
            "a;b\n1;2\n", "train.csv: one column, named 'a;b'; columns are separated by commas", id="semicolons"
        ),
        pytest.param(
            ",".join(f"c{i}" for i in range(MAX_COLUMNS + 1)) + "\n" + ",".join("1" * (MAX_COLUMNS + 1)) + "\n",
            f"{MAX_COLUMNS + 1} columns, at most {MAX_COLUMNS} are read",
            id="too many columns",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UnusableData, match=message):
        from_csv(tmp_path, text)


def test_a_row_far_down_is_named_by_its_line(tmp_path: Path) -> None:
    rows = "1,2\n" * (ROWS_AT_ONCE + 5)
    with pytest.raises(UnusableData, match=f"line {ROWS_AT_ONCE + 7}: 3 cells"):
        from_csv(tmp_path, f"a,b\n{rows}1,2,3\n")


def test_other_encodings_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableData, match="line 3: not UTF-8"):
        from_csv(tmp_path, "a\nx\nMünchen\n", encoding="latin-1")
    with pytest.raises(UnusableData, match=r"\.csv and \.parquet"):
        read(tmp_path / "train.xlsx")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.parquet")


def test_parquet_has_types(tmp_path: Path) -> None:
    day = datetime.date(2026, 11, 24)
    found = from_parquet(
        tmp_path,
        {
            "i": [1, None, 3],
            "f": [1.5, float("nan"), float("inf")],
            "s": ["1", "2", None],
            "b": [True, False, None],
            "d": [Decimal("1.5"), Decimal("2.5"), None],
            "t": [day, day, day],
            "l": [[1.0], [2.0], None],
        },
    )
    types = {name: sketch.types for name, sketch in found.items() if not name[-1].isdigit()}
    assert types == {
        "input.i": {"number": 2},
        "input.f": {"number": 1, "infinity": 1},
        "input.s": {"string": 2},
        "input.b": {"boolean": 2},
        "input.d": {"number": 2},
        "input.t": {"string": 3},
        "input.l": {"array": 2},
    }
    assert {sketch.missing for name, sketch in found.items() if name not in ("input.t", "input.5")} == {1}


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more PAR1")
    with pytest.raises(UnusableData, match=r"train\.parquet: not a whole Parquet file"):
        read(tmp_path / "train.parquet")
