"""ONNX: a protobuf message without a magic number, known by the fields of its outermost level."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.refusals import cut_off

_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
_KNOWN_FIELDS = {
    1: 0,
    2: 2,
    3: 2,
    4: 2,
    5: 0,
    6: 2,
    7: 2,
    8: 2,
    14: 2,
    20: 2,
    25: 2,
    26: 2,
}  # of ModelProto -> wire type
_INITIALIZER, _EXTERNAL_DATA = 5, 13  # of GraphProto, of TensorProto
_BYTES = 2  # the wire type of texts, bytes and messages
_FIXED_BYTES = {1: 8, 5: 4}
_HEAD_BYTES = 64
_MAX_FIELDS = 2_000_000  # some seconds
_MAX_SMALL_BYTES = 8192


class _NotOnnx(Exception):
    pass


def looks_like_onnx(head: bytes) -> bool:
    """Exporters write the IR version first."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 0x20 and head[2] >> 3 in _KNOWN_FIELDS


def examine_onnx(path: Path) -> ModelFile:
    """Raises ModelFileError."""
    try:
        found = _read(path)
    except EOFError:
        raise cut_off(path, "its ONNX graph") from None
    except _NotOnnx:
        raise ModelFileError(f"{path.name} begins like an ONNX model and is none", reason="UnknownFormat") from None
    for name in found.beside:
        if name != os.path.basename(name):
            raise ModelFileError(f"{path.name} has weights in another folder: {name}", reason="Damaged")
        if not (path.parent / name).is_file():
            raise ModelFileError(
                f"{path.name} has its weights in {name}, which is not beside it",
                reason="NoModel",
                hint="copy both from where they were written",
            )
    told = {"ONNX IR": str(found.ir_version)}
    told |= {f"ONNX opset {domain}".strip(): str(version) for domain, version in found.opsets.items()}
    return ModelFile(path, format="onnx", framework="onnx", packages={"onnxruntime": ""}, facts=told)


def files_beside(path: Path) -> tuple[str, ...]:
    """The names of files beside a model's that belong to it; none for what is no ONNX model, or a damaged one."""
    try:
        with open(path, "rb") as file:
            is_onnx = looks_like_onnx(file.read(_HEAD_BYTES))
        found = _read(path).beside if is_onnx else ()
    except (OSError, EOFError, _NotOnnx):
        return ()
    return tuple(name for name in found if name == os.path.basename(name) and (path.parent / name).is_file())


@dataclass
class _Found:
    ir_version: int = 0
    has_graph: bool = False
    opsets: dict[str, int] = field(default_factory=dict)
    places: dict[str, None] = field(default_factory=dict)  # where weights are, in the order of the graph

    @property
    def beside(self) -> tuple[str, ...]:
        return tuple(self.places)


def _read(path: Path) -> _Found:
    """Raises EOFError, _NotOnnx."""
    found = _Found()
    with open(path, "rb") as file:
        reader = _Reader(file)
        for number, wire_type, value in reader.fields(os.path.getsize(path)):
            if _KNOWN_FIELDS.get(number) != wire_type:
                raise _NotOnnx
            if number == _IR_VERSION:
                found.ir_version = value
            elif number == _OPSET:
                texts, numbers = reader.small_message(value)
                found.opsets[texts.get(1, "")] = numbers.get(2, 0)
            elif number == _GRAPH:
                found.has_graph = True
                _read_places(reader, value, found.places)
    if not found.ir_version:
        raise _NotOnnx
    if not found.has_graph:
        raise EOFError
    return found


def _read_places(reader: _Reader, end: int, places: dict[str, None]) -> None:
    """The names of the files in which tensors of a graph are kept."""
    for number, wire_type, tensor_end in reader.fields(end):
        if (number, wire_type) == (_INITIALIZER, _BYTES):
            for part, kind, entry_end in reader.fields(tensor_end):
                if (part, kind) == (_EXTERNAL_DATA, _BYTES):
                    texts, _ = reader.small_message(entry_end)
                    if texts.get(1) == "location":
                        places[texts.get(2, "")] = None


class _Reader:
    """Fields of protobuf messages; no more than `_MAX_FIELDS` of all messages together."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n_left = _MAX_FIELDS

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, wire type, and value of each field of the message that ends at `end`; of bytes, the place of their
        end. The file is at their beginning then, and wherever the caller leaves it, the next field is found."""
        file = self._file
        while file.tell() < end:
            self._n_left -= 1
            if self._n_left < 0:
                raise _NotOnnx
            number, wire_type = divmod(_varint(file), 8)
            if wire_type == _BYTES:
                place = _varint(file) + file.tell()
                if place > end:
                    raise EOFError
                yield number, wire_type, place
                file.seek(place)
            elif wire_type == 0:
                yield number, wire_type, _varint(file)
            elif wire_type in _FIXED_BYTES:
                file.seek(_FIXED_BYTES[wire_type], os.SEEK_CUR)
            else:
                raise _NotOnnx

    def small_message(self, end: int) -> tuple[dict[int, str], dict[int, int]]:
        """Texts and numbers by field; nothing of a message that is larger than such a one can be."""
        texts: dict[int, str] = {}
        numbers: dict[int, int] = {}
        if end - self._file.tell() > _MAX_SMALL_BYTES:
            return texts, numbers
        for number, wire_type, value in self.fields(end):
            if wire_type == _BYTES:
                texts[number] = self._file.read(value - self._file.tell()).decode("utf-8", "replace")
            else:
                numbers[number] = value
        return texts, numbers


def _varint(file: BinaryIO) -> int:
    result = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        result |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return result
    raise _NotOnnx
