"""Folders of Transformers: a text pipeline of the task that the model's class says."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchway.errors import LoadError, RequestError
from hatchway.modelfiles.transformers_folder import TASKS, task_of
from hatchway.replica.models.columns import one_or_many
from hatchway.replica.models.model import Model, Schema
from hatchway.replica.models.records import read_each


class TransformersModel:
    """See `Model`. A text, or a list of texts; the answer of each is the pipeline's."""

    takes_batch = True

    def __init__(self, pipeline: Any, task: str, mask: str) -> None:
        self._pipeline = pipeline
        self.input_schema: Schema = one_or_many({"type": "string"})
        self.output_schema: Schema = {}
        self.description = f"transformers {task}"
        self.example: Any = f"some {mask} text" if mask else "some text"

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return read_each(payload, str, "a text")

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        try:
            answers = self._pipeline(list(rows), batch_size=len(rows))
        except (ValueError, IndexError) as exc:  # no mask in the text, longer than the model reads
            raise RequestError(f"the model refuses the text: {exc}", status=422) from exc
        return [answers] if len(rows) == 1 and not _is_list_of_answers(answers) else list(answers)


def _is_list_of_answers(answers: Any) -> bool:
    return isinstance(answers, list) and len(answers) == 1


def open_transformers(folder: Path, classes: Sequence[str], *, is_trusted: bool, cpu_threads: int) -> Model:
    """Raises LoadError (UnsupportedTask). Code and pickled weights in the folder are used only when it is trusted."""
    task = task_of(classes)
    if task is None:
        raise LoadError(
            f"{folder.name} holds {', '.join(classes) or 'a model without a task'}; no text pipeline is made for it",
            reason="UnsupportedTask",
            hint=f"served are models that end in {', '.join(TASKS)}; write a handler.py for others",
        )
    torch = importlib.import_module("torch")
    torch.set_num_threads(cpu_threads)
    transformers = importlib.import_module("transformers")
    pipeline = transformers.pipeline(
        task,
        model=str(folder),
        tokenizer=str(folder),
        device="cpu",
        trust_remote_code=is_trusted,
        model_kwargs={"use_safetensors": None if is_trusted else True},
    )
    if pipeline.tokenizer.pad_token is None:  # generators have none; without one texts cannot be put together
        pipeline.tokenizer.pad_token = pipeline.tokenizer.eos_token
    return TransformersModel(pipeline, task, str(pipeline.tokenizer.mask_token or "") if task == "fill-mask" else "")
