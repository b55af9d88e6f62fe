"""Folders of MLflow: opened by the framework that is in them; by MLflow itself where only it can."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

from hatchway.errors import ModelFileError, RequestError
from hatchway.modelfiles import ModelFile, examine
from hatchway.modelfiles.folders import native_model, read_mlmodel
from hatchway.replica.models.columns import ANY, NUMBER, TEXT, Column, Columns
from hatchway.replica.models.model import Model, Opening, Schema

_KINDS = {"string": TEXT, "double": NUMBER, "float": NUMBER, "integer": NUMBER, "long": NUMBER, "boolean": NUMBER}


def inner_file(folder: ModelFile) -> ModelFile:
    """The file in it that a framework opens alone; the folder itself where there is none. Raises ModelFileError."""
    native = native_model(folder.path, read_mlmodel(folder.path))
    return folder if native is None else examine(native)


def open_pyfunc(opening: Opening) -> Model:
    """By MLflow, which imports what the folder names: only of trusted folders."""
    mlflow = importlib.import_module("mlflow.pyfunc")
    return PyfuncModel(mlflow.load_model(str(opening.file.path)), signature_columns(opening.file))


class PyfuncModel:
    """See `Model`. Rows become a DataFrame with the names of the signature."""

    takes_batch = True

    def __init__(self, model: Any, columns: Columns) -> None:
        self._model = model
        self._columns = columns
        self._frame = importlib.import_module("pandas").DataFrame
        self.description = "mlflow python_function"
        self.input_schema = columns.schema
        self.output_schema: Schema = {}
        self.example = columns.example

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return self._columns.read(payload)

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        frame = self._frame(list(rows), columns=list(self._columns.names) or None)
        try:
            answers = self._model.predict(frame)
        except (ValueError, TypeError) as exc:
            raise RequestError(f"the model refuses the values: {exc}", status=422) from exc
        if hasattr(answers, "to_dict") and hasattr(answers, "columns"):
            return list(answers.to_dict(orient="records"))
        return list(answers.tolist() if hasattr(answers, "tolist") else answers)


def signature_columns(folder: ModelFile) -> Columns:
    """What the folder's signature says of a row; nothing where there is none."""
    signature = read_mlmodel(folder.path).get("signature")
    text = signature.get("inputs") if isinstance(signature, dict) else None
    try:
        fields = json.loads(text) if isinstance(text, str) else []
    except ValueError as exc:
        raise ModelFileError(f"the signature in {folder.path.name}/MLmodel cannot be read", reason="Damaged") from exc
    named = [field for field in fields if isinstance(field, dict) and field.get("name")]
    return Columns([Column(str(field["name"]), _KINDS.get(str(field.get("type")), ANY)) for field in named])
