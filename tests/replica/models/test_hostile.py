"""Hostile pickles: every one is listed by the scanner, refused by the replica, and runs nothing.

Each would write the canary file if anything of it ran. The unpickler is tried by itself, too, without the scanner
before it.
"""

from __future__ import annotations

import functools
import operator
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hatchway.modelfiles import examine
from hatchway.modelfiles.pickles import read_pickle
from hatchway.modelfiles.source import Source
from hatchway.replica.models import unpickling
from tests.modelfiles.test_hostile import CONTENTS
from tests.replica.models.serving import refusal


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def touch(canary: Path) -> str:
    return f"touch {canary}"


def opcodes(body: bytes) -> bytes:
    return b"\x80\x04" + body


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def hostile(canary: Path) -> dict[str, bytes]:
    command, write = touch(canary), f"open({str(canary)!r}, 'w')"
    system = text("os") + text("system") + b"\x93"
    argument = text(command) + b"\x85R."
    return {
        "os.system": pickle.dumps(Calls(os.system, command)),
        "os.system, protocol 0": pickle.dumps(Calls(os.system, command), 0),
        "eval": pickle.dumps(Calls(eval, write)),
        "getattr": pickle.dumps(Calls(getattr, 1, "real")),
        "partial": pickle.dumps(Calls(functools.partial, os.system, command)),
        "attrgetter": pickle.dumps(Calls(operator.attrgetter, "__class__")),
        "names from the memo": opcodes(
            text("os") + b"\x94" + text("system") + b"\x940" + b"0h\x00h\x01\x93" + argument
        ),
        "a dotted name": opcodes(text("numpy") + text("ndarray.tofile") + b"\x93."),
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"\x80\x02(cos\nsystem\n" + text(command) + b"o.",
        "new object": opcodes(text("subprocess") + text("Popen") + b"\x93" + text(command) + b"\x85\x81."),
        "extension code": opcodes(b"\x82\x01."),
        "a name that is computed": opcodes(
            text("builtins") + text("str") + b"\x93" + text("os") + b"\x85R" + text("system") + b"\x93" + argument
        ),
        "other encodings": opcodes(text("_codecs") + text("encode") + b"\x93" + text("x") + text("rot13") + b"\x86R."),
        "a change of a class": opcodes(text("numpy") + text("ndarray") + b"\x93" + b"N}" + text("x") + b"K\x01s\x86b."),
        "a call of what was made": opcodes(
            text("sklearn.linear_model._base") + text("LinearRegression") + b"\x93)\x81)R."
        ),
        "within an array of objects": pickle.dumps(np.array([Calls(os.system, command)], dtype=object)),
        "among a model's parts": pickle.dumps({"model": Calls(os.system, command)}),
        "a distribution that compiles its state": opcodes(
            text("scipy.stats._distn_infrastructure") + text("rv_continuous") + b"\x93)\x81."
        ),
        "reads a file": opcodes(text("numpy") + text("load") + b"\x93" + text(str(canary)) + b"\x85R."),
        "imports by name": opcodes(
            text("numpy._core")
            + text("_ufunc_reconstruct")
            + b"\x93"
            + text("os")
            + text("system")
            + b"\x86R"
            + argument
        ),
        "os by itself": opcodes(system + argument),
    }


NAMES = list(hostile(Path("canary")))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "m"
    path.write_bytes(hostile(canary)[name])
    error = refusal(path)
    assert error.reason in ("UntrustedModel", "NotAModel")
    if error.reason == "UntrustedModel":
        assert examine(path).sha256 in error.hint
    for load in (unpickling.load_plain, unpickling.load_joblib):
        with pytest.raises((pickle.UnpicklingError, ValueError, TypeError)):
            load(path)
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore:Trying to unpickle estimator")
@pytest.mark.parametrize("name", [*CONTENTS, "a method by a name that comes later"])
def test_known_names_are_not_enough_for_the_unpickler_either(tmp_path: Path, name: str) -> None:
    """Each names only what is known; the scanner is not asked."""
    later = (
        b"\x80\x02csklearn.ensemble._stacking\nStackingClassifier\n)\x81}"
        b"U\x0dstack_method_]q\x00sb0h\x00U\x06tofileacsklearn.linear_model._base\nLinearRegression\n)\x81."
    )
    (tmp_path / "m.pkl").write_bytes(CONTENTS.get(name, later))
    with pytest.raises((unpickling.Forbidden, EOFError, ValueError)):
        unpickling.load_plain(tmp_path / "m.pkl")


@pytest.mark.filterwarnings("ignore:Trying to unpickle estimator")
@pytest.mark.parametrize(
    "made",
    [
        # Each computes the attribute's name, or the dict that it is in, so that the scanner does not see it.
        b"csklearn.linear_model._base\nLinearRegression\n)\x81c__builtin__\ndict\n]NAME}\x86a\x85Rb",
        b"ccopy_reg\n_reconstructor\ncsklearn.utils._bunch\nBunch\nc__builtin__\ndict\n]NAME}\x86a\x87R",
        b"csklearn.utils._bunch\nBunch\n)\x81NAME}s",
        b"csklearn.utils._bunch\nBunch\n)\x81(NAME}u",
        # A partial keeps the very dict that it is given: entries may come later.
        b"cfunctools\npartial\ncsklearn.utils.validation\ncheck_array\n\x85R"
        b"(csklearn.utils.validation\ncheck_array\n)}}q\x00tb0h\x00NAME}s",
    ],
)
def test_no_object_says_that_it_is_an_array_wherever_it_likes(tmp_path: Path, made: bytes) -> None:
    name = b"c__builtin__\nstr\n" + b"U\x13__array_interface__\x85R"
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02" + made.replace(b"NAME", name) + b".")
    with pytest.raises(unpickling.Forbidden, match="wherever an attribute says"):
        unpickling.load_plain(tmp_path / "m.pkl")


@pytest.mark.parametrize("compress", [0, 3])
def test_a_pickle_within_joblibs_arrays_is_no_way_round(tmp_path: Path, compress: int) -> None:
    """joblib itself hands an array of objects to an unpickler without any rule."""
    canary, path = tmp_path / "canary", tmp_path / "m"
    joblib.dump({"coef": np.array([Calls(os.system, touch(canary))], dtype=object)}, path, compress=compress)
    assert refusal(path).reason in ("UntrustedModel", "NotAModel")
    with pytest.raises(unpickling.Forbidden, match="system"):
        unpickling.load_joblib(path)
    assert not canary.exists()


def test_a_trusted_file_is_loaded_and_trust_is_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(pickle.dumps(Calls(os.path.join, "a", "b")))
    first = examine(path)
    assert "posixpath.join" in first.unsafe
    assert refusal(path, [first.sha256]).reason == "NoPredict"  # it was loaded: a text has no predict
    path.write_bytes(pickle.dumps(Calls(os.path.join, "a", "c")))
    assert refusal(path, [first.sha256]).reason == "UntrustedModel"


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"city": ["Rome", None], "age": [1.5, 2]}),
        pd.Series(["a", "b"], dtype="category"),
        pd.Index(["a", "b"]),
        pd.Series([True, None], dtype="boolean"),
        pd.Series([1, None], dtype="Int64"),
        pd.to_datetime(pd.Series(["2026-11-24"])),
    ],
    ids=lambda table: str(getattr(table, "dtype", "frame")),
)
def test_tables_are_no_reason_to_ask(tmp_path: Path, table: Any) -> None:
    """A ColumnTransformer often keeps the columns that it was given as they were."""
    joblib.dump(table, tmp_path / "m")
    with open(tmp_path / "m", "rb") as file:
        found = read_pickle(Source(file, os.path.getsize(tmp_path / "m"), is_packed=False))
    assert list(found.unsafe) == []
    loaded = unpickling.load_joblib(tmp_path / "m")
    assert type(loaded) is type(table)
    assert loaded.equals(table)


def test_texts_that_lie_beyond_their_buffer_are_refused(tmp_path: Path) -> None:
    honest = pickle.dumps(pa.array(["ab", "c"]), 4)
    offsets = (0).to_bytes(4, "little") + (2).to_bytes(4, "little") + (3).to_bytes(4, "little")
    assert offsets in honest
    (tmp_path / "m").write_bytes(honest.replace(offsets, offsets[:8] + (3_000_000).to_bytes(4, "little")))
    with pytest.raises(pa.ArrowInvalid):
        unpickling.load_plain(tmp_path / "m")
