"""scikit-learn's files: what is served is, number for number, what the model itself answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from tests.replica.models.serving import refusal, served

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).round(3)
Y = X @ [1.0, -2.0, 0.5, 0.0] + 3
LABELS = np.array(["low", "mid", "high"])[np.digitize(Y, [2, 4])]
NAMED = pd.DataFrame(X, columns=["a", "b", "c", "d"])
TEXTS = ["good and nice", "bad and ugly", "nice", "ugly"] * 5
CITIES = pd.DataFrame({"size": X[:, 0], "city": pd.Categorical(np.where(X[:, 1] > 0, "Rome", "Oslo"))})
PEOPLE = pd.DataFrame(
    {
        "age": [20.0, 30.0, np.nan, 50.0] * 5,
        "city": ["Rome", "Oslo", "Rome", "Bonn"] * 5,
        "income": [1.0, 2.0, 3.0, 4.0] * 5,
    }
)


def mixed_columns() -> Pipeline:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = [("n", numbers, ["age", "income"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["city"])]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", LogisticRegression())])


def labelled(model: Any, x: Any) -> list[dict[str, Any]]:
    labels, table = model.predict(x).tolist(), model.predict_proba(x).tolist()
    keys = [str(label) for label in model.classes_.tolist()]
    return [
        {"prediction": a, "probabilities": dict(zip(keys, row, strict=True))}
        for a, row in zip(labels, table, strict=True)
    ]


def numbers(model: Any, x: Any) -> Any:
    return model.predict(x).tolist()


def only_labels(model: Any, x: Any) -> list[dict[str, Any]]:
    return [{"prediction": label} for label in model.predict(x).tolist()]


Case = tuple[Callable[[], Any], Any, Callable[[Any, Any], Any]]
ZOO: dict[str, Case] = {
    "labels": (lambda: LogisticRegression().fit(X, LABELS), X[:5], labelled),
    "integer labels": (lambda: RandomForestClassifier(5, random_state=0).fit(X, Y > 3), X[:5], labelled),
    "named features": (lambda: LogisticRegression().fit(NAMED, LABELS), NAMED[:5], labelled),
    "frame by type": (lambda: HistGradientBoostingClassifier(max_iter=3).fit(NAMED, LABELS), NAMED[:5], labelled),
    "neighbours": (lambda: KNeighborsClassifier().fit(X, LABELS), X[:5], labelled),
    "stacking": (
        lambda: StackingClassifier([("k", KNeighborsClassifier()), ("l", LogisticRegression())]).fit(X, LABELS),
        X[:5],
        labelled,
    ),
    "columns of texts": (lambda: mixed_columns().fit(PEOPLE, ["y", "n"] * 10), PEOPLE[:4], labelled),
    "grid search": (
        lambda: GridSearchCV(mixed_columns(), {"model__C": [0.1, 1.0]}, cv=2).fit(PEOPLE, ["y", "n"] * 10),
        PEOPLE[:4],
        labelled,
    ),
    "no probabilities": (lambda: LinearSVC().fit(X, LABELS), X[:5], only_labels),
    "support vectors": (lambda: SVC().fit(X, LABELS), X[:5], only_labels),
    "regressor": (lambda: LinearRegression().fit(X, Y), X[:5], numbers),
    "named regressor": (lambda: Ridge().fit(NAMED, Y), NAMED[:5], numbers),
    "quantiles": (lambda: QuantileRegressor(quantile=0.9).fit(X, Y), X[:5], numbers),
    "boosted quantiles": (
        lambda: GradientBoostingRegressor(loss="quantile", alpha=0.1, n_estimators=5).fit(X, Y),
        X[:5],
        numbers,
    ),
    "two outputs": (lambda: LinearRegression().fit(X, np.c_[Y, -Y]), X[:5], numbers),
    "logarithms": (
        lambda: make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(abs(X), Y),
        abs(X[:5]),
        numbers,
    ),
    "transformed target": (
        lambda: TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp).fit(X, abs(Y) + 1),
        X[:5],
        numbers,
    ),
    "clusters": (lambda: KMeans(3, n_init=1, random_state=0).fit(X), X[:5], numbers),
    "transformer": (lambda: PCA(2).fit(X), X[:5], lambda model, x: model.transform(x).tolist()),
    "outliers": (
        lambda: IsolationForest(n_estimators=5, random_state=0).fit(X),
        X[:5],
        lambda model, x: [
            {"prediction": label, "score": score}
            for label, score in zip(model.predict(x).tolist(), model.decision_function(x).tolist(), strict=True)
        ],
    ),
    "mixture": (
        lambda: GaussianMixture(2, random_state=0).fit(X),
        X[:5],
        lambda model, x: [
            {"prediction": label, "probabilities": {"0": first, "1": second}}
            for label, (first, second) in zip(model.predict(x).tolist(), model.predict_proba(x).tolist(), strict=True)
        ],
    ),
    "texts": (
        lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0] * 10),
        TEXTS[:4],
        labelled,
    ),
    "objects": (
        lambda: make_pipeline(DictVectorizer(), LinearRegression()).fit([{"city": "Rome"}, {"size": 2.0}], [1, 2]),
        [{"city": "Rome"}, {"size": 3.0, "new": 1}],
        numbers,
    ),
    "several labels": (
        lambda: MultiOutputClassifier(LogisticRegression()).fit(X, np.c_[LABELS, Y > 3]),
        X[:3],
        lambda model, x: [
            [
                {
                    "prediction": label,
                    "probabilities": dict(zip(map(str, keys.tolist()), table[row].tolist(), strict=True)),
                }
                for label, keys, table in zip(
                    model.predict(x)[row].tolist(), model.classes_, model.predict_proba(x), strict=True
                )
            ]
            for row in range(len(x))
        ],
    ),
}


def as_payload(x: Any) -> list[Any]:
    if isinstance(x, pd.DataFrame):
        return [{key: None if value != value else value for key, value in row.items()} for row in x.to_dict("records")]
    return list(x.tolist()) if hasattr(x, "tolist") else list(x)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("how", ["joblib", "pickle", "skops"])
def test_a_file_is_served_as_the_model_answers(tmp_path: Path, name: str, how: str) -> None:
    make, x, direct = ZOO[name]
    path = tmp_path / "m"
    reference = written_and_read(make(), path, how)
    with served(path) as api:
        assert api.predict(as_payload(x)) == direct(reference, x)
        # One record in, one answer out: the same as of a list of one.
        assert api.predict(as_payload(x)[0]) == api.predict(as_payload(x)[:1])[0]
        assert api.predict([]) == []
        assert api.post(api.method.example).status == 200, api.method.example


def written_and_read(model: Any, path: Path, how: str) -> Any:
    """The model as its own library reads it back."""
    if how == "pickle":
        path.write_bytes(pickle.dumps(model))
        return pickle.loads(path.read_bytes())
    if how == "skops":
        skops.io.dump(model, path)
        return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    joblib.dump(model, path, compress=3 if how == "packed" else 0)
    return joblib.load(path)


def test_gradient_boosting_on_category_columns_takes_their_texts(tmp_path: Path) -> None:
    """It holds a functools.partial, of a function that is known."""
    model = HistGradientBoostingRegressor(max_iter=3).fit(CITIES, Y)
    joblib.dump(model, tmp_path / "m")
    with served(tmp_path / "m") as api:
        assert api.predict(CITIES[:5].to_dict("records")) == model.predict(CITIES[:5]).tolist()
        assert api.method.example["city"] == "Oslo"
        assert api.post(api.method.example).status == 200


def test_a_chain_of_classifiers_says_both_shares_of_each_output(tmp_path: Path) -> None:
    model = ClassifierChain(LogisticRegression()).fit(X, np.c_[Y > 2, Y > 3])
    joblib.dump(model, tmp_path / "m")
    with served(tmp_path / "m") as api:
        answers = api.predict(X[:3].tolist())
    assert [[each["prediction"] for each in answer] for answer in answers] == model.predict(X[:3]).tolist()
    shares = [[each["probabilities"]["True"] for each in answer] for answer in answers]
    assert np.allclose(shares, model.predict_proba(X[:3]))
    assert all(sum(each["probabilities"].values()) == pytest.approx(1) for answer in answers for each in answer)


def test_the_schema_names_features_and_labels(tmp_path: Path) -> None:
    joblib.dump(mixed_columns().fit(PEOPLE, ["y", "n"] * 10), tmp_path / "m")
    with served(tmp_path / "m") as api:
        assert api.batches
        record = (api.method.input_schema or {})["anyOf"][0]["anyOf"][0]
        assert list(record["properties"]) == ["age", "city", "income"]
        assert record["properties"]["city"]["examples"] == ["Bonn", "Oslo", "Rome"]
        assert record["properties"]["age"]["type"] == ["number", "boolean", "null"]
        assert (api.method.example["city"], api.method.example["age"]) == ("Bonn", pytest.approx(100 / 3))
        answer = (api.method.output_schema or {})["anyOf"][0]
        assert list(answer["properties"]["probabilities"]["properties"]) == ["n", "y"]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"a": 1, "b": 2, "c": 3}, ["missing 'd'"]),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, ["unknown 'e'"]),
        ([1, 2, 3], ["3 values", "4 values"]),
        ([[1, 2, 3, 4], [1, 2, 3, "x"]], ["record 1", "'d' is text ('x')"]),
        ([[1, 2, 3, [4]]], ["record 0", "'d' is a list"]),
        ("1,2,3,4", ["this is text"]),
        (None, ["this is null"]),
        ([[1, 2, 3, None]], ["NaN"]),
        ([[1, 2, 3, 4], 5], ["record 1", "a number"]),
    ],
)
def test_a_wrong_payload_is_the_callers_error(tmp_path: Path, payload: Any, words: list[str]) -> None:
    joblib.dump(LogisticRegression().fit(NAMED, LABELS), tmp_path / "m")
    with served(tmp_path / "m") as api:
        answer = api.post(payload)
        assert answer.status == 422
        assert any(word in answer.error["message"] for word in words)


def test_a_model_that_cannot_predict_is_refused(tmp_path: Path) -> None:
    from sklearn.cluster import DBSCAN

    joblib.dump(DBSCAN().fit(X), tmp_path / "m")
    assert refusal(tmp_path / "m").reason == "NoPredict"


def test_another_version_is_named_and_served(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, LABELS)
    data = pickle.dumps(model)
    from sklearn import __version__ as here

    old = "0" * (len(here) - 2) + ".9"
    (tmp_path / "m").write_bytes(data.replace(here.encode(), old.encode()))
    with pytest.warns(UserWarning, match="unpickle"), served(tmp_path / "m") as api:  # noqa: PT031 (warned as it loads)
        assert api.predict(X[:2].tolist()) == labelled(model, X[:2])
        assert f"written with scikit-learn {old}, and this environment has {here}" in api.log


def test_a_load_that_fails_names_both_versions(tmp_path: Path) -> None:
    from sklearn import __version__ as here

    old = "0" * (len(here) - 2) + ".9"
    data = pickle.dumps(LogisticRegression().fit(X, LABELS)).replace(here.encode(), old.encode())
    # A module that the other version had: known, and not here.
    (tmp_path / "m").write_bytes(
        data.replace(b"linear_model._logistic", b"ensemble._gb_losses")
        .replace(b"\x8c\x1esk", b"\x8c\x1bsk")
        .replace(b"\x8c\x12LogisticRegression", b"\x8c\x10BinomialDeviance")
    )
    error = refusal(tmp_path / "m")
    assert error.reason == "VersionSkew"
    assert f"scikit-learn {old}" in error.message
    assert here in error.message
    assert error.hint == f"pip install 'scikit-learn=={old}'"
