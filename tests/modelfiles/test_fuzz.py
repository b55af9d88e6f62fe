"""Whatever the bytes: an answer or a ModelFileError, within bounds."""

from __future__ import annotations

import io
import pickle
import tempfile
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import skops.io
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine
from hatchway.modelfiles.plain_yaml import NotPlain, parse
from tests.replica.models.test_other_zoo import MLMODEL

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STARTS = [
    b"",
    b"\x80\x04",
    b"\x80\x02",
    b"PK\x03\x04",
    b"\x08\x07\x3a",
    b'{"learner":',
    b"tree\nversion=",
    b"\x1f\x8b",
    b"x\x9c",
]


def examined(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            found = examine(Path(file.name))
        except ModelFileError as exc:
            assert exc.reason and exc.message  # noqa: PT017, PT018 (either outcome is right)
        else:
            assert found.sha256


@cache
def real_files() -> list[bytes]:
    values = np.array([["a", "x"], ["b", "y"]] * 5, dtype=object)
    model = make_pipeline(ColumnTransformer([("c", OneHotEncoder(), [0, 1])]), LogisticRegression()).fit(
        values, [0, 1] * 5
    )
    packed, plain = io.BytesIO(), io.BytesIO()
    joblib.dump(model, plain)
    joblib.dump(model, packed, compress=3)
    booster = xgboost.train({}, xgboost.DMatrix([[0.0], [1.0]], [0, 1]), 1)
    files = [pickle.dumps(model, protocol) for protocol in range(6)]
    files += [plain.getvalue(), packed.getvalue(), skops.io.dumps(model)]
    return [*files, bytes(booster.save_raw("json")), bytes(booster.save_raw("ubj"))]


@BOUNDED
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_any_bytes(start: bytes, rest: bytes) -> None:
    examined(start + rest)


@BOUNDED
@given(st.data())
def test_real_files_with_changes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(real_files())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        if not content:
            break
    examined(bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content))


@BOUNDED
@given(
    st.text(max_size=300)
    | st.builds(lambda a, b: MLMODEL[:a] + b + MLMODEL[a:], st.integers(0, 600), st.text(max_size=5))
)
def test_any_mlmodel(text: str) -> None:
    try:
        parse(text)
    except NotPlain as exc:
        assert str(exc)  # noqa: PT017 (either outcome is right)
