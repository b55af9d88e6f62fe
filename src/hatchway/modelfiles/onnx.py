"""ONNX: a protobuf message without a magic number, known by the fields of its outermost level."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile

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
_MAX_FIELDS = 10_000
_MAX_OPSET_BYTES = 1024


class _NotOnnx(Exception):
    pass


def looks_like_onnx(head: bytes) -> bool:
    """Exporters write the IR version first."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 0x20 and head[2] >> 3 in _KNOWN_FIELDS


def examine_onnx(path: Path) -> ModelFile:
    """Raises ModelFileError."""
    try:
        with open(path, "rb") as file:
            ir_version, opsets = _walk(file, os.path.getsize(path))
    except EOFError:
        raise ModelFileError(
            f"{path.name} is cut off: it ends before its ONNX graph does ({os.path.getsize(path):,} bytes)",
            reason="Truncated",
            hint="copy it again from where it was written, or export it again",
        ) from None
    except _NotOnnx:
        raise ModelFileError(f"{path.name} begins like an ONNX model and is none", reason="UnknownFormat") from None
    told = {"ONNX IR": str(ir_version)} | {f"ONNX opset {domain}".strip(): str(v) for domain, v in opsets.items()}
    return ModelFile(path, format="onnx", framework="onnx", packages={"onnxruntime": ""}, facts=told)


def _walk(file: BinaryIO, size: int) -> tuple[int, dict[str, int]]:
    ir_version, has_graph, opsets = 0, False, {}
    for _ in range(_MAX_FIELDS):
        if file.tell() >= size:
            break
        number, wire_type = divmod(_varint(file), 8)
        if _KNOWN_FIELDS.get(number) != wire_type:
            raise _NotOnnx
        value = _varint(file)
        if wire_type == 0:
            ir_version = value if number == _IR_VERSION else ir_version
            continue
        end = file.tell() + value
        if end > size:
            raise EOFError
        has_graph = has_graph or number == _GRAPH
        if number == _OPSET and value <= _MAX_OPSET_BYTES:
            domain, version = _opset(file, end)
            opsets[domain] = version
        file.seek(end)
    if not ir_version:
        raise _NotOnnx
    if not has_graph:
        raise EOFError
    return ir_version, opsets


def _opset(file: BinaryIO, end: int) -> tuple[str, int]:
    domain, version = "", 0
    while file.tell() < end:
        number, wire_type = divmod(_varint(file), 8)
        value = _varint(file)
        if wire_type == 2:
            text = file.read(min(value, _MAX_OPSET_BYTES)).decode("utf-8", "replace")
            domain = text if number == 1 else domain
        elif wire_type == 0:
            version = value if number == 2 else version
        else:
            raise _NotOnnx
    return domain, version


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
