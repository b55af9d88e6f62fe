"""Two small models on disk: one that loads as it is, one that names what is not known to be safe."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import joblib
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def write_safe(path: Path, labels: Sequence[object] = (0, 1)) -> Path:
    joblib.dump(DummyClassifier().fit([[0], [1]], labels), path)
    return path


def write_unsafe(path: Path) -> Path:
    """A pipeline that calls a function of some module as it predicts: posixpath.join."""
    joblib.dump(make_pipeline(FunctionTransformer(posixpath.join), DummyClassifier()), path)
    return path
