"""scikit-learn's models, and whatever calls itself like one: objects with `predict`, or at least `transform`."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hatchway.errors import LoadError, RequestError
from hatchway.replica.models.categories import trained_categories
from hatchway.replica.models.columns import ANY, NUMBER, TEXT, Column, Columns, one_or_many
from hatchway.replica.models.model import Schema
from hatchway.replica.models.records import Objects, Records, Texts

_TEXT_STEPS = {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"}
_OBJECT_STEPS = {"DictVectorizer", "FeatureHasher"}
_CATEGORY_STEPS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
_NUMBER_STEPS = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "KBinsDiscretizer",
    "PolynomialFeatures",
}
_NUMBER_STEPS |= {"PowerTransformer", "QuantileTransformer", "SplineTransformer", "Normalizer", "KNNImputer"}
# Those that look at their columns by name or by type; all others see a matrix of numbers in any case.
_FRAME_STEPS = {"ColumnTransformer", "FunctionTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
_FRAME_STEPS |= {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "SimpleImputer"}


class SklearnModel:
    """See `Model`."""

    takes_batch = True

    def __init__(self, estimator: Any, names: Sequence[str] = ()) -> None:
        """`names` are the features where the estimator itself knows none. Raises LoadError (NoPredict)."""
        self._estimator = estimator
        self.description = f"{type(estimator).__module__.partition('.')[0]} {type(estimator).__name__}"
        self._records = _records_of(estimator, names)
        self._answer, self.output_schema = _answers_of(estimator)
        self.input_schema = self._records.schema
        self.example = self._records.example
        self._to_input = self._choose_input()
        # A matrix is as good as a frame to them; they would say so at each call.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return self._records.read(payload)

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        try:
            return self._answer(self._to_input(rows))
        except (ValueError, TypeError) as exc:  # how scikit-learn refuses values
            reason = str(exc).partition("\nStack trace:")[0]  # XGBoost's, of its own C++
            raise RequestError(f"the model refuses the values: {reason}", status=422) from exc

    def _choose_input(self) -> Callable[[Sequence[Any]], Any]:
        if not isinstance(self._records, Columns):
            return list
        names = self._records.names
        categories = [names[place] for place in trained_categories(_first_step(self._estimator))] if names else []
        if names and (categories or _needs_frame(self._estimator)):
            pandas = importlib.import_module("pandas")
            numbers = [column.name for column in self._records.columns if column.kind == NUMBER]
            types = dict.fromkeys(numbers, "float") | dict.fromkeys(categories, "category")
            return lambda rows: pandas.DataFrame(list(rows), columns=list(names)).astype(types)
        numpy = importlib.import_module("numpy")
        if all(column.kind == NUMBER for column in self._records.columns):
            return lambda rows: numpy.array(rows, dtype=float)
        return lambda rows: numpy.array(rows, dtype=object if _has_texts(rows) else float)


def _has_texts(rows: Sequence[Any]) -> bool:
    return any(isinstance(value, str) for row in rows for value in row)


# --- what it takes ---------------------------------------------------------------------------------------------
def _records_of(estimator: Any, names: Sequence[str]) -> Records:
    first = _first_step(estimator)
    kind = type(first).__name__
    if kind in _TEXT_STEPS:
        return Texts()
    if kind in _OBJECT_STEPS:
        return Objects([str(name) for name in _get(first, "feature_names_", ())])
    found = _get(estimator, "feature_names_in_", None)
    if found is None:
        found = _get(first, "feature_names_in_", names)
    names = [str(name) for name in found]
    count = _get(estimator, "n_features_in_", None) or _get(first, "n_features_in_", None)
    if not names and not count:
        return Columns([])
    kinds = _kinds(first, names or list(range(int(count or 0))))
    for place, values in trained_categories(first).items():
        name = names[place] if names else ""
        kinds[place] = _category(name, [values], 0)
    return Columns(
        [kinds.get(place, Column(name, NUMBER)) for place, name in enumerate(names or [""] * int(count or 0))]
    )


def _kinds(first: Any, names: Sequence[Any]) -> dict[int, Column]:
    """Place -> column, where the first step says more than that it is a number."""
    # Gradient boosting that was trained on category columns has its encoder within.
    parts = _get(first, "transformers_", None) or _get(_get(first, "_preprocessor", None), "transformers_", None)
    if parts is None:
        parts = [("", first, list(range(len(names))))]
    found: dict[int, Column] = {}
    for _, transformer, columns in parts:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        places = list(_places(columns, names))
        step = _first_step(transformer)
        for at, place in enumerate(places):
            name = names[place] if isinstance(names[place], str) else ""
            found[place] = _column(step, name, at, is_root=step is first)
    return found


def _column(step: Any, name: str, at: int, *, is_root: bool) -> Column:
    kind = type(step).__name__
    if kind in _CATEGORY_STEPS or (_get(step, "categories_", None) is not None):
        return _category(name, _get(step, "categories_", ()), at)
    if kind in _TEXT_STEPS:
        return Column(name, TEXT)
    if kind == "SimpleImputer":
        fill = _get(step, "statistics_", ())
        example = _plain(fill[at]) if at < len(fill) else None
        return Column(name, ANY if isinstance(example, str) else NUMBER, example if example == example else None)
    if kind in _NUMBER_STEPS or (is_root and kind != "ColumnTransformer" and kind not in _FRAME_STEPS):
        return Column(name, NUMBER)
    return Column(name, ANY)


def _category(name: str, categories: Any, at: int) -> Column:
    known = [_plain(value) for value in (categories[at] if at < len(categories) else ())]
    known = [value for value in known if isinstance(value, (str, int, float, bool)) and value == value]
    is_number = bool(known) and not any(isinstance(value, str) for value in known)
    return Column(name, NUMBER if is_number else ANY, known[0] if known else None, tuple(known))


def _places(columns: Any, names: Sequence[Any]) -> Iterator[int]:
    if isinstance(columns, slice) and not any(isinstance(end, str) for end in (columns.start, columns.stop)):
        columns = list(range(len(names)))[columns]
    elif not isinstance(columns, (list, tuple)):
        columns = [columns] if isinstance(columns, (str, int)) else list(columns)
    if columns and all(type(column).__name__ in ("bool", "bool_") for column in columns):
        columns = [place for place, is_in in enumerate(columns) if is_in]
    for column in columns:
        if isinstance(column, str):
            if column in names:
                yield names.index(column)
        elif -len(names) <= int(column) < len(names):
            yield int(column) % len(names)


def _first_step(estimator: Any) -> Any:
    """What sees the payload first: through pipelines and searches."""
    for _ in range(20):
        inner = _get(estimator, "best_estimator_", None)
        if inner is None and _get(estimator, "steps", None):
            inner = next((step for _, step in estimator.steps if step not in (None, "passthrough")), None)
        if inner is None:
            break
        estimator = inner
    return estimator


def _needs_frame(estimator: Any) -> bool:
    """Whether any part of it looks at columns by name or type; parts of other packages may."""
    first = _first_step(estimator)
    is_own = type(first).__module__.startswith("sklearn.")
    inner = _get(first, "estimator", None) or _get(first, "regressor", None)
    nested = list(_get(first, "estimators", None) or ()) + list(_get(first, "transformer_list", None) or ())
    parts = [part[1] for part in nested if isinstance(part, tuple) and len(part) > 1]
    parts += [inner] if hasattr(inner, "get_params") else []
    is_matrix_fine = is_own or type(first).__module__.startswith(("xgboost.", "lightgbm."))
    return type(first).__name__ in _FRAME_STEPS or not is_matrix_fine or any(map(_needs_frame, parts))


# --- what it answers -------------------------------------------------------------------------------------------
Answer = Callable[[Any], Sequence[Any]]
_LABEL: Schema = {"type": ["string", "number", "boolean"]}
_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}}


def _answers_of(estimator: Any) -> tuple[Answer, Schema]:
    """How rows are answered, and what that looks like. Raises LoadError (NoPredict)."""
    if not hasattr(estimator, "predict"):
        if hasattr(estimator, "transform"):
            return lambda x: _dense(estimator.transform(x)).tolist(), one_or_many(_NUMBERS)
        raise LoadError(
            f"{type(estimator).__name__} cannot predict: it has neither predict nor transform",
            reason="NoPredict",
            hint="write a handler.py that uses the model as you do",
        )
    classes = _get(estimator, "classes_", None)
    if hasattr(estimator, "predict_proba"):
        return _with_probabilities(estimator, classes)
    if _kind(estimator) == "outlier_detector" and hasattr(estimator, "decision_function"):
        return _with_score(estimator)
    if classes is not None:
        return _labels_only(estimator)
    schema: Schema = {"anyOf": [{"type": "number"}, _LABEL, {"type": "array"}]}
    if _kind(estimator) in ("regressor", "clusterer"):
        outputs = _n_outputs(estimator)
        numbers = _NUMBERS | ({"minItems": outputs, "maxItems": outputs} if outputs else {})
        schema = numbers if outputs else {"type": "integer" if _kind(estimator) == "clusterer" else "number"}
    return lambda x: _list(estimator.predict(x)), one_or_many(schema)


def _with_probabilities(estimator: Any, classes: Any) -> tuple[Answer, Schema]:
    if isinstance(classes, list):  # several outputs

        def answer_many(x: Any) -> Sequence[Any]:
            labels, found = _list(estimator.predict(x)), estimator.predict_proba(x)
            if not isinstance(found, list):  # of a chain: for each output the share of the second of its two classes
                found = [[[1 - share, share] for share in shares] for shares in zip(*_list(found), strict=True)]
            tables = [_list(table) for table in found]
            return [
                [
                    _labelled(label, table[row], keys)
                    for label, table, keys in zip(labels[row], tables, all_keys, strict=True)
                ]
                for row in range(len(labels))
            ]

        all_keys = [_keys(each) for each in classes]
        return answer_many, one_or_many({"type": "array", "items": _labelled_schema([])})

    def answer(x: Any) -> Sequence[Any]:
        labels, table = _list(estimator.predict(x)), _list(estimator.predict_proba(x))
        names = keys or [str(index) for index in range(len(table[0]) if table else 0)]
        return [_labelled(label, row, names) for label, row in zip(labels, table, strict=True)]

    keys = _keys(classes) if classes is not None else []
    return answer, one_or_many(_labelled_schema(keys))


def _labelled(label: Any, probabilities: Sequence[float], keys: Sequence[str]) -> dict[str, Any]:
    return {"prediction": label, "probabilities": dict(zip(keys, probabilities, strict=True))}


def _labelled_schema(keys: Sequence[str]) -> Schema:
    shares: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
    if keys:
        shares |= {"properties": {key: {"type": "number"} for key in keys}}
    return {
        "type": "object",
        "properties": {"prediction": {}, "probabilities": shares},
        "required": ["prediction", "probabilities"],
    }


def _with_score(estimator: Any) -> tuple[Answer, Schema]:
    def answer(x: Any) -> Sequence[Any]:
        pairs = zip(_list(estimator.predict(x)), _list(estimator.decision_function(x)), strict=True)
        return [{"prediction": label, "score": score} for label, score in pairs]

    properties = {"prediction": {"enum": [1, -1]}, "score": {"type": "number"}}
    return answer, one_or_many({"type": "object", "properties": properties, "required": list(properties)})


def _labels_only(estimator: Any) -> tuple[Answer, Schema]:
    schema: Schema = {"type": "object", "properties": {"prediction": {}}, "required": ["prediction"]}
    return lambda x: [{"prediction": label} for label in _list(estimator.predict(x))], one_or_many(schema)


def _kind(estimator: Any) -> str:
    """classifier, regressor, clusterer, outlier_detector, ...; "" where it does not say."""
    kind = _get(estimator, "_estimator_type", None)
    if kind is None and "sklearn.utils" in sys.modules:
        try:
            kind = importlib.import_module("sklearn.utils").get_tags(estimator).estimator_type
        except (ImportError, AttributeError, TypeError, ValueError):
            kind = None
    return str(kind or "")


def _n_outputs(estimator: Any) -> int:
    """Above one; 0 for one, or where it is not known."""
    count = _get(estimator, "n_outputs_", None)
    if count is None:
        coefficients = _get(estimator, "coef_", None)
        count = len(coefficients) if getattr(coefficients, "ndim", 1) == 2 else 1
    return int(count) if isinstance(count, int) and count > 1 else 0


def _keys(classes: Any) -> list[str]:
    return [str(value) for value in _list(classes)]


def _list(values: Any) -> list[Any]:
    return list(_dense(values).tolist()) if hasattr(values, "tolist") or hasattr(values, "toarray") else list(values)


def _dense(values: Any) -> Any:
    values = values.toarray() if hasattr(values, "toarray") else values
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _get(estimator: Any, name: str, default: Any) -> Any:
    """An attribute that may be a property of something that is not fitted."""
    try:
        return getattr(estimator, name, default)
    except Exception:  # noqa: BLE001 (properties of any package)
        return default
