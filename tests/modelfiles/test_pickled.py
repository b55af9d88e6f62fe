"""Pickles and joblib files, known by their opcodes; nothing of theirs is ever run."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine


@pytest.fixture(scope="module")
def encoder() -> OneHotEncoder:
    """It holds an array of objects: a pickle within joblib's."""
    return OneHotEncoder().fit(np.array([["a", "x"], ["b", "y"]], dtype=object))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_is_read(tmp_path: Path, encoder: OneHotEncoder, protocol: int) -> None:
    (tmp_path / "m.bin").write_bytes(pickle.dumps(encoder, protocol))
    found = examine(tmp_path / "m.bin")
    assert (found.format, found.framework, found.unsafe) == ("pickle", "sklearn", ())
    assert found.packages["scikit-learn"] == sklearn.__version__
    assert found.classes == ("sklearn.preprocessing._encoders.OneHotEncoder",)


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_a_joblib_file_is_read_packed_or_not(tmp_path: Path, encoder: OneHotEncoder, compress: object) -> None:
    joblib.dump(encoder, tmp_path / "m", compress=compress)
    found = examine(tmp_path / "m")
    assert (found.format, found.framework, found.unsafe) == ("joblib", "sklearn", ())


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, pack: type[bytes], kept: float) -> None:
    whole = pack(pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    (tmp_path / "m").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "m")
    assert caught.value.reason == "Truncated"


@pytest.mark.parametrize(
    ("value", "reason"),
    [({"model": 1}, "NotAModel"), ([1, 2], "NotAModel"), (np.eye(2), "NotAModel"), (LogisticRegression, "NotAModel")],
)
def test_what_is_no_model_is_refused(tmp_path: Path, value: object, reason: str) -> None:
    (tmp_path / "m").write_bytes(pickle.dumps(value))
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "m")
    assert caught.value.reason == reason


def test_a_class_of_the_script_itself_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"\x80\x02c__main__\nMyModel\n)\x81.")
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "m")
    assert caught.value.reason == "PickledMain"
    assert "MyModel" in caught.value.message
    assert "module" in (caught.value.hint or "")


def test_an_unknown_class_is_listed_and_the_content_named(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"\x80\x02cmine.models\nScorer\n)\x81.")
    found = examine(tmp_path / "m")
    assert found.unsafe == ("mine.models.Scorer",)
    assert len(found.sha256) == 64
    assert found.framework == "mine"
