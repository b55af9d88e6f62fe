"""ONNX models by onnxruntime: inputs and outputs as the graph names them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.errors import LoadError, RequestError
from hatchway.modelfiles import ModelFile
from hatchway.replica.models.columns import one_or_many
from hatchway.replica.models.model import Schema
from hatchway.replica.models.tensors import WrongShape, depth_of, shape_of, tensor_schema

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


@dataclass(frozen=True)
class Input:
    """One input of the graph. `shape` is that of one record where rows are stacked, else that of the whole."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]  # None: any size
    is_stacked: bool

    @property
    def is_scalar(self) -> bool:
        return self.shape in ((), (1,))

    @property
    def kind(self) -> str:
        return {"object": "string", "bool": "boolean"}.get(self.dtype, "integer" if "int" in self.dtype else "number")

    @property
    def schema(self) -> Schema:
        return {"type": self.kind} if self.is_scalar else tensor_schema(self.kind, self.shape)

    @property
    def example(self) -> Any:
        value: Any = {"string": "text", "boolean": True, "integer": 0}.get(self.kind, 0.0)
        for size in reversed(() if self.is_scalar else self.shape):
            value = [value] * (1 if size is None else min(size, 1000))
        return value


class OnnxModel:
    """See `Model`. A record is the one input's values, or an object by input name; an answer the one output's, or an
    object by output name."""

    def __init__(self, file: ModelFile, path: Path, cpu_threads: int) -> None:
        """Raises LoadError (VersionSkew) for a graph that is newer than onnxruntime."""
        self._numpy = importlib.import_module("numpy")
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cpu_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=runtime.get_available_providers())
        except Exception as exc:
            raise _cannot_open(file, runtime.__version__, exc) from exc
        found = self._session.get_inputs()
        self.takes_batch = all(len(each.shape) > 0 and not isinstance(each.shape[0], int) for each in found)
        self._inputs = [_input(each, is_stacked=self.takes_batch) for each in found]
        self._outputs = [each.name for each in self._session.get_outputs()]
        self.description = f"onnx model ({', '.join(each.name for each in self._inputs)})"
        self._by_name = {each.name: each for each in self._inputs}
        record = self._record_schema()
        self.input_schema = one_or_many(record) if self.takes_batch else record
        self.output_schema = {} if len(self._outputs) == 1 else one_or_many(_object_schema(self._outputs))
        only = self._inputs[0]
        self.example = only.example if len(found) == 1 else {each.name: each.example for each in self._inputs}

    def _record_schema(self) -> Schema:
        if len(self._inputs) == 1:
            return {"anyOf": [self._inputs[0].schema, _object_schema([self._inputs[0].name], self._inputs)]}
        return _object_schema([each.name for each in self._inputs], self._inputs)

    # --- reading ---------------------------------------------------------------------------------------------
    def read(self, payload: Any) -> tuple[list[Any], bool]:
        if isinstance(payload, dict) or not self.takes_batch:
            return [self._record(payload, "")], True
        if not isinstance(payload, list):
            if len(self._inputs) == 1 and self._inputs[0].is_scalar:
                return [self._record(payload, "")], True
            raise _wrong(f"send {self._wanted()}, or a list of such")
        if payload and not isinstance(payload[0], dict) and self._is_one_record(payload):
            return [self._record(payload, "")], True
        return [self._record(item, f"record {index}: ") for index, item in enumerate(payload)], False

    def _is_one_record(self, payload: list[Any]) -> bool:
        only = self._inputs[0]
        return len(self._inputs) == 1 and not only.is_scalar and depth_of(payload) <= len(only.shape)

    def _record(self, item: Any, where: str) -> dict[str, Any]:
        if not isinstance(item, dict):
            if len(self._inputs) > 1:
                raise _wrong(f"{where}send {self._wanted()}")
            item = {self._inputs[0].name: item}
        missing = [name for name in self._by_name if name not in item]
        unknown = [name for name in item if name not in self._by_name]
        if missing or unknown:
            told = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
            raise _wrong(f"{where}inputs: {'; '.join(told)}. The model takes {', '.join(self._by_name)}")
        return {name: self._values(self._by_name[name], value, where) for name, value in item.items()}

    def _values(self, wanted: Input, value: Any, where: str) -> Any:
        """An array of the record's shape."""
        if wanted.is_scalar and not isinstance(value, list):
            value = [value] * len(wanted.shape) if wanted.shape else value
        try:
            shape = shape_of(value, wanted.kind)
        except WrongShape as exc:
            raise _wrong(f"{where}{wanted.name}: {exc}") from exc
        fits = len(shape) == len(wanted.shape) and all(
            want is None or size == want for size, want in zip(shape, wanted.shape, strict=True)
        )
        if not fits:
            sizes = ", ".join("any" if size is None else str(size) for size in wanted.shape)
            raise _wrong(f"{where}{wanted.name}: values of shape {list(shape)}; the model takes [{sizes}]")
        try:
            return self._numpy.array(value, dtype=wanted.dtype)
        except (ValueError, TypeError, OverflowError) as exc:
            raise _wrong(f"{where}{wanted.name}: {exc}") from exc

    def _wanted(self) -> str:
        if len(self._inputs) > 1:
            return f"an object with the inputs {', '.join(self._by_name)}"
        return f"the values of {self._inputs[0].name}"

    # --- predicting ------------------------------------------------------------------------------------------
    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        if not self.takes_batch:
            return [self._named([_plain(output) for output in self._run(row)]) for row in rows]
        shapes = {tuple(array.shape for array in row.values()) for row in rows}
        if len(shapes) > 1:  # sizes that are free may differ between records
            return [answer for row in rows for answer in self.predict([row])]
        stacked = {name: self._numpy.stack([row[name] for row in rows]) for name in self._by_name}
        outputs = [_plain(output) for output in self._run(stacked)]
        for name, output in zip(self._outputs, outputs, strict=True):
            if not isinstance(output, list) or len(output) != len(rows):
                raise ValueError(f"the model's output {name} has no row for each of its {len(rows)} inputs")
        return [self._named([_one(output[row]) for output in outputs]) for row in range(len(rows))]

    def _run(self, inputs: dict[str, Any]) -> list[Any]:
        return list(self._session.run(None, inputs))

    def _named(self, values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else dict(zip(self._outputs, values, strict=True))


def _input(found: Any, *, is_stacked: bool) -> Input:
    dtype = _TYPES.get(found.type)
    if dtype is None:
        raise LoadError(
            f"input {found.name} of the ONNX model is a {found.type}, which JSON cannot say",
            reason="UnsupportedInput",
            hint="write a handler.py that runs the model with onnxruntime",
        )
    sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in found.shape)
    return Input(found.name, dtype, sizes[1:] if is_stacked else sizes, is_stacked)


def _object_schema(names: Sequence[str], inputs: Sequence[Input] = ()) -> Schema:
    known = {each.name: each.schema for each in inputs}
    return {"type": "object", "properties": {name: known.get(name, {}) for name in names}, "required": list(names)}


def _plain(output: Any) -> Any:
    return output.tolist() if hasattr(output, "tolist") else output


def _one(value: Any) -> Any:
    """Graphs made for tables answer a column: [[1.5], [2.5]] is 1.5 for the first row."""
    return value[0] if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list) else value


def _cannot_open(file: ModelFile, version: str, exc: Exception) -> LoadError:
    told = ", ".join(f"{name} {value}" for name, value in file.facts.items())
    text = str(exc)
    is_newer = "opset" in text.lower() or "ir version" in text.lower() or "ir_version" in text.lower()
    return LoadError(
        f"onnxruntime {version} cannot open {file.path.name} ({told}): {text}",
        reason="VersionSkew" if is_newer else "LoadFailed",
        hint="pip install --upgrade onnxruntime, or export the model for an older opset" if is_newer else None,
    )


def _wrong(message: str) -> RequestError:
    return RequestError(message, status=422)
