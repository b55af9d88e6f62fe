"""A model file as a handler: what `loading.py` finds where `handler.model` names one.

Imported only by replicas that serve a model file (`isolation.ours`), with the adapters of all frameworks.
"""

from __future__ import annotations

from hatchway.contract import Launch
from hatchway.errors import LoadError
from hatchway.replica.batching import Batching
from hatchway.replica.loading import SYNC_CONCURRENCY, Handler, Method
from hatchway.replica.models.method import Predictions
from hatchway.replica.models.opening import open_model

MODEL_BATCH = 32  # requests that a model file answers together at most, unless handler.batching says otherwise


class ModelCandidate:
    """A model file that is served as it is."""

    is_async = False

    def __init__(self, launch: Launch) -> None:
        self._launch = launch

    def build(self) -> Handler:
        """Raises LoadError, see `open_model`."""
        opened = open_model(self._launch)
        model = opened.model
        predictions = Predictions(model)
        function = predictions if model.takes_batch else predictions.one
        method = Method(
            function,
            ("payload",),
            False,
            input_schema=model.input_schema,
            output_schema=model.output_schema,
            example=model.example,
        )
        concurrency = self._launch.max_concurrency or SYNC_CONCURRENCY
        description = f"{model.description} from {self._launch.model}"
        batching = self._batching(takes_batch=model.takes_batch)
        return Handler({"POST": method}, description, concurrency, opened.warning, batching)

    def _batching(self, *, takes_batch: bool) -> Batching | None:
        """By default, wherever the framework predicts many rows at once. Raises LoadError (BadSignature)."""
        size = self._launch.batch_max_size
        if takes_batch:
            return Batching(size or MODEL_BATCH, self._launch.batch_max_wait_s)
        if size is not None:
            raise LoadError(
                f"{self._launch.model} predicts one payload at a time", reason="BadSignature", hint="remove batching"
            )
        return None
