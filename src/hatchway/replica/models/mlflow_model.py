"""Folders of MLflow: opened by the framework that is in them; by MLflow itself where only it can."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

from hatchway.errors import LoadError, ModelFileError, RequestError
from hatchway.modelfiles import ModelFile, examine
from hatchway.modelfiles.mlflow_folder import native_model, read_mlmodel
from hatchway.replica.models.columns import ANY, NUMBER, TEXT, Column, Columns
from hatchway.replica.models.model import Model, Opening, Schema
from hatchway.replica.models.records import Records, Texts

_KINDS = {"string": TEXT, "double": NUMBER, "float": NUMBER, "integer": NUMBER, "long": NUMBER, "boolean": NUMBER}
# MLflow takes a column only in the very type of its signature; JSON knows one kind of number and no dates.
_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "datetime": "datetime64[ns]"}
_CALLERS_FAULT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # of MLflow's own errors


def inner_file(folder: ModelFile) -> ModelFile:
    """The file in it that a framework opens alone; the folder itself where there is none. Raises ModelFileError."""
    native = native_model(folder.path, read_mlmodel(folder.path))
    return folder if native is None else examine(native)


def open_pyfunc(opening: Opening) -> Model:
    """By MLflow, which imports what the folder names: only of trusted folders. Raises LoadError (UnsupportedInput)."""
    fields = _input_fields(opening.file)
    mlflow = importlib.import_module("mlflow.pyfunc")
    return PyfuncModel(mlflow.load_model(str(opening.file.path)), fields)


class PyfuncModel:
    """See `Model`. Rows become what the signature asks for: a DataFrame of its names and types, an array, texts."""

    takes_batch = True

    def __init__(self, model: Any, fields: Sequence[dict[str, Any]]) -> None:
        self._model = model
        self._pandas = importlib.import_module("pandas")
        self._numpy = importlib.import_module("numpy")
        self._refused = importlib.import_module("mlflow.exceptions").MlflowException
        self._records = _records(fields)
        self._dtypes = {str(field.get("name", "")): _dtype(field) for field in fields}
        self.description = "mlflow python_function"
        self.input_schema: Schema = self._records.schema
        self.output_schema: Schema = {}
        self.example = self._records.example

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return self._records.read(payload)

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        inputs = self._inputs(rows)
        try:
            answers = self._model.predict(inputs)
        except (ValueError, TypeError) as exc:
            raise RequestError(f"the model refuses the values: {exc}", status=422) from exc
        except self._refused as exc:
            if getattr(exc, "error_code", "") not in _CALLERS_FAULT:
                raise
            raise RequestError(f"the model refuses the values: {exc}", status=422) from exc
        if hasattr(answers, "to_dict") and hasattr(answers, "columns"):
            return list(answers.to_dict(orient="records"))
        return list(answers.tolist() if hasattr(answers, "tolist") else answers)

    def _inputs(self, rows: Sequence[Any]) -> Any:
        if not isinstance(self._records, Columns):
            return list(rows)
        names = list(self._records.names)
        if not names and "" in self._dtypes:
            return self._numpy.array(list(rows), dtype=self._dtypes[""])
        frame = self._pandas.DataFrame(list(rows), columns=names or None)
        for name in names:
            dtype = self._dtypes[name]
            if dtype is not None:
                frame[name] = self._converted(frame[name], dtype)
        return frame

    def _converted(self, column: Any, dtype: str) -> Any:
        try:
            found = column.astype(dtype)
        except (ValueError, TypeError, OverflowError) as exc:
            raise RequestError(f"{column.name!r} cannot be a {dtype}: {exc}", status=422) from exc
        if dtype.startswith("int") and not (found == column).all():
            raise RequestError(f"{column.name!r} has no whole number that fits into {dtype}", status=422)
        return found


def _input_fields(folder: ModelFile) -> list[dict[str, Any]]:
    """What the folder's signature says of its inputs; nothing where there is none."""
    signature = read_mlmodel(folder.path).get("signature")
    text = signature.get("inputs") if isinstance(signature, dict) else None
    try:
        fields = json.loads(text) if isinstance(text, str) else []
    except ValueError as exc:
        raise ModelFileError(f"the signature in {folder.path.name}/MLmodel cannot be read", reason="Damaged") from exc
    fields = [field for field in fields if isinstance(field, dict)]
    for field in fields:
        if field.get("type") == "tensor" and (field.get("name") or len(_shape(field)) != 2):
            raise LoadError(
                f"{folder.path.name} takes tensors that are no rows of numbers",
                reason="UnsupportedInput",
                hint="write a handler.py that calls mlflow.pyfunc.load_model(folder).predict(...)",
            )
    return fields


def _records(fields: Sequence[dict[str, Any]]) -> Records:
    """How payloads are read."""
    if len(fields) == 1 and fields[0].get("type") == "tensor":
        size = _shape(fields[0])[1]
        return Columns.unnamed(size if size > 0 else None)
    if len(fields) == 1 and fields[0].get("type") == "string" and not fields[0].get("name"):
        return Texts()
    named = [field for field in fields if field.get("name")]
    return Columns([Column(str(field["name"]), _KINDS.get(str(field.get("type")), ANY)) for field in named])


def _dtype(field: dict[str, Any]) -> str | None:
    """The type that a column or an array must have; None where any will do."""
    if field.get("type") == "tensor":
        return str(field.get("tensor-spec", {}).get("dtype", "float64"))
    return _DTYPES.get(str(field.get("type")))


def _shape(field: dict[str, Any]) -> list[int]:
    shape = field.get("tensor-spec", {}).get("shape")
    return [int(size) for size in shape] if isinstance(shape, list) else []
