"""PyTorch programs: TorchScript and exported ones (.pt2). Nested lists in, nested lists out, the batch first."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica.models.model import Model, Schema
from hatchway.replica.models.tensors import WrongShape, shape_of
from hatchway.replica.models.torch_examples import LOOKUPS, example_of, example_of_program, first_layer, kind_of

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_WHOLE_DTYPES = (1, 2, 3, 4, 5)  # integers, in the numbering of exported programs


class TorchModel:
    """See `Model`. One input: nested lists with the batch as the outermost; a flat list is one record.
    Several inputs: an object by argument name, each with the batch first."""

    takes_batch = False  # rows are stacked by the caller: a program may not be free in its first dimension

    def __init__(
        self, torch: Any, module: Any, arguments: Sequence[str], whole: Sequence[bool], kind: str, example: Any
    ) -> None:
        self._torch = torch
        self._module = module
        self._arguments = arguments
        self._whole = dict(zip(arguments, whole, strict=True))
        self.description = f"torch {kind}"
        nested: Schema = {"type": "array"}
        properties = dict.fromkeys(arguments, nested)
        by_name: Schema = {"type": "object", "properties": properties, "required": list(arguments)}
        self.input_schema: Schema = {"anyOf": [nested, by_name]} if len(arguments) == 1 else by_name
        self.output_schema: Schema = {}
        self.example = example

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        is_alone = isinstance(payload, list) and bool(payload) and not isinstance(payload[0], list)
        if not isinstance(payload, dict):
            if len(self._arguments) != 1:
                raise _wrong(f"send an object with the inputs {', '.join(self._arguments)}")
            payload = {self._arguments[0]: payload}
        if payload.keys() != self._whole.keys():
            raise _wrong(
                f"the model takes the inputs {', '.join(self._arguments)}; this has {', '.join(payload) or 'none'}"
            )
        return [({name: self._tensor(name, payload[name], is_alone) for name in self._arguments}, is_alone)], True

    def _tensor(self, name: str, value: Any, is_alone: bool) -> Any:
        kind = "integer" if self._whole[name] else "number"
        if not isinstance(value, list):
            raise _wrong(f"{name}: send nested lists of numbers, the batch first")
        try:
            shape_of(value, kind)
            dtype = self._torch.int64 if self._whole[name] else self._torch.float32
            tensor = self._torch.tensor(value, dtype=dtype)
        except (WrongShape, ValueError, TypeError, OverflowError, RuntimeError) as exc:
            raise _wrong(f"{name}: {exc}") from exc
        return tensor.unsqueeze(0) if is_alone else tensor

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        return [self._answer(inputs, is_alone) for inputs, is_alone in rows]

    def _answer(self, inputs: dict[str, Any], is_alone: bool) -> Any:
        try:
            with self._torch.inference_mode():
                result = _plain(self._module(*inputs.values()))
        except (RuntimeError, AssertionError, ValueError) as exc:  # how PyTorch, and a program's guards, refuse shapes
            reason = (str(exc).strip().splitlines() or [type(exc).__name__])[-1]
            raise RequestError(f"the model refuses the values: {reason}", status=422) from exc
        return result[0] if is_alone and isinstance(result, list) and len(result) == 1 else result


def open_torchscript(path: Path, cpu_threads: int) -> Model:
    """A file of torch.jit.save."""
    torch = _torch(cpu_threads)
    module = torch.jit.load(str(path), map_location="cpu").eval()
    arguments = [argument.name for argument in module.forward.schema.arguments[1:] if not argument.has_default_value()]
    whole = [kind_of(first_layer(module)) in LOOKUPS] * len(arguments)
    return TorchModel(torch, module, arguments, whole, "TorchScript", example_of(torch, module, len(arguments)))


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Whatever PyTorch is asked to load: on errors it falls back to full pickles otherwise."""
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        del os.environ[_WEIGHTS_ONLY]


def open_pt2(path: Path, cpu_threads: int, *, is_trusted: bool) -> Model:
    """A file of torch.export.save."""
    torch = _torch(cpu_threads)
    with contextlib.nullcontext() if is_trusted else _weights_only():
        program = torch.export.load(str(path))
    arguments = list(program.graph_signature.user_inputs)
    types = _tensor_types(path)
    whole = [types.get(name) in _WHOLE_DTYPES for name in arguments]
    example = example_of_program(torch, program, arguments)
    return TorchModel(torch, program.module(), arguments, whole, "exported program", example)


def open_module(path: Path, cpu_threads: int) -> Model:
    """A whole module, pickled by torch.save: only of trusted files."""
    torch = _torch(cpu_threads)
    module = torch.load(str(path), map_location="cpu", weights_only=False).eval()
    code = module.forward.__code__
    optional = len(module.forward.__defaults__ or ())
    arguments = code.co_varnames[1 : code.co_argcount - optional]
    whole = [kind_of(first_layer(module)) in LOOKUPS] * len(arguments)
    example = example_of(torch, module, len(arguments))
    return TorchModel(torch, module, arguments, whole, f"module {type(module).__name__}", example)


def _torch(cpu_threads: int) -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(cpu_threads)
    return torch


def _tensor_types(path: Path) -> dict[str, int]:
    """Input -> element type, as the program's document numbers them."""
    with zipfile.ZipFile(path) as archive:
        name = next((each for each in archive.namelist() if each.endswith("models/model.json")), None)
        values = json.loads(archive.read(name))["graph_module"]["graph"]["tensor_values"] if name else {}
    return {name: value.get("dtype", 0) for name, value in values.items()}


def _plain(result: Any) -> Any:
    if isinstance(result, dict):
        return {str(key): _plain(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [_plain(value) for value in result]
    return result.tolist() if hasattr(result, "tolist") else result


def _wrong(message: str) -> RequestError:
    return RequestError(message, status=422)
