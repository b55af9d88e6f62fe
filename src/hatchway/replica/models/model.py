"""What an adapter is: a model that is opened, and how JSON becomes its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hatchway.modelfiles import ModelFile

Schema = dict[str, Any]


class Model(Protocol):
    """`predict` is called by one thread at a time for each slot of the replica; frameworks allow that."""

    description: str  # for people: "sklearn Pipeline"
    input_schema: Schema  # JSON Schema of a payload
    output_schema: Schema
    example: Any  # a payload that is right in form
    takes_batch: bool  # many rows cost little more than one

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        """The rows of a payload, and whether it was one record alone. Raises RequestError (422)."""
        ...

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        """An answer for each row, in order. Raises RequestError (422) for rows that the model itself refuses."""
        ...


@dataclass(frozen=True)
class Opening:
    """What an adapter is opened with."""

    file: ModelFile  # what was named
    inner: ModelFile  # the file to open: another one only for a folder of MLflow
    is_trusted: bool  # the user lets it run code as it loads
    cpu_threads: int

    @property
    def path(self) -> Path:
        return self.inner.path
