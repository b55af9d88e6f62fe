"""Folders of Transformers: their configuration, their weights, and what in them runs code or fetches it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.refusals import LFS_START, lfs_pointer
from hatchway.modelfiles.source import read_text

_CODE = ("auto_map", "custom_pipelines", "custom_generate")  # keys that name classes of the folder, or of a hub
# The end of the model class's name -> the task of a text pipeline.
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}
_SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def examine_transformers(folder: Path) -> ModelFile:
    """Raises ModelFileError. Weights in pickles, and code in the folder, are for the user to trust."""
    config = _read_config(folder / "config.json")
    if not any((folder / name).is_file() for name in _SAFE_WEIGHTS + _PICKLED_WEIGHTS):
        others = [name for name in ("tf_model.h5", "flax_model.msgpack", "model.onnx") if (folder / name).is_file()]
        raise ModelFileError(
            f"{folder.name} has a config.json and no weights of PyTorch" + (f" (it has {others[0]})" if others else ""),
            reason="NoModel",
            hint="save it with model.save_pretrained(folder), and its tokenizer beside it",
        )
    for file in sorted(folder.glob("*.safetensors")):
        _check_safetensors(file)
    packages = {"transformers": str(config.get("transformers_version") or ""), "torch": ""}
    classes = tuple(str(name) for name in config.get("architectures") or () if isinstance(name, str))
    return ModelFile(folder, "transformers", "transformers", packages, tuple(_unsafe(folder)), classes=classes)


def task_of(classes: Sequence[str]) -> str | None:
    """What a text pipeline does with a model of these classes; None where there is no such pipeline."""
    return next((task for end, task in TASKS.items() for name in classes if name.endswith(end)), None)


def _unsafe(folder: Path) -> Iterator[str]:
    if not any((folder / name).is_file() for name in _SAFE_WEIGHTS):
        yield "weights in a pickle (pytorch_model.bin)"
    if (folder / "adapter_config.json").is_file():
        yield "another model that is fetched (adapter_config.json)"
    for file in sorted(folder.glob("*config.json")):
        config = _read_config(file)
        for key in _CODE:
            if any(found == key for found, _ in _entries(config)):
                yield f"code that is named ({key} in {file.name})"
        if any("_implementation" in key and "/" in json.dumps(value) for key, value in _entries(config)):
            yield f"code that is fetched (an implementation in {file.name})"


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values at any depth."""
    left: list[Any] = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from value.items()
            left += value.values()
        elif isinstance(value, list):
            left += value


def _read_config(file: Path) -> dict[str, Any]:
    """Raises ModelFileError (Damaged)."""
    name = f"{file.parent.name}/{file.name}"
    try:
        config = json.loads(read_text(file))
    except (ValueError, RecursionError) as exc:
        raise ModelFileError(f"{name} is not valid JSON: {exc}", reason="Damaged") from exc
    if not isinstance(config, dict):
        raise ModelFileError(f"{name} is not an object", reason="Damaged")
    return config


def _check_safetensors(file: Path) -> None:
    size = os.path.getsize(file)
    with open(file, "rb") as opened:
        start = opened.read(64)
        if start.startswith(LFS_START):
            raise lfs_pointer(file.name)
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > size - 8 or length > 100 * 1024**2:
            raise ModelFileError(f"{file.name} is cut off or damaged ({size:,} bytes)", reason="Truncated")
        opened.seek(8)
        try:
            header = json.loads(opened.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as exc:
            raise ModelFileError(f"{file.name} is damaged: its header cannot be read", reason="Damaged") from exc
    if max(ends, default=0) > size - 8 - length:
        raise ModelFileError(f"{file.name} is cut off ({size:,} bytes)", reason="Truncated")
