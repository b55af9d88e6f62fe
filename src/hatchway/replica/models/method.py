"""What a call to a model file runs: payloads become rows, all rows are predicted at once, answers are dealt out.

One record in, one answer out; a list in, a list out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica.models.model import Model


class Predictions:
    """Callable with the payloads of one batch; gives as many results, in order, each an answer or an exception."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __call__(self, payload: Sequence[Any]) -> list[Any]:
        read = [self._read(item) for item in payload]
        whole = [item for item in read if not isinstance(item, RequestError)]
        rows = [row for part, _ in whole for row in part]
        try:
            answers = iter(self._model.predict(rows) if rows else ())
        except Exception as exc:  # noqa: BLE001 (whose rows did it is not known yet)
            if len(whole) == 1:
                return [item if isinstance(item, RequestError) else exc for item in read]
            # One at a time: nobody suffers for a neighbour's rows.
            return [
                item if isinstance(item, RequestError) else self([one])[0]
                for item, one in zip(read, payload, strict=True)
            ]
        return [_deal(item, answers) for item in read]

    def one(self, payload: Any) -> Any:
        """The same for one payload, of a model that gains nothing by many rows."""
        result = self([payload])[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _read(self, item: Any) -> tuple[list[Any], bool] | RequestError:
        try:
            return self._model.read(item)
        except RequestError as exc:
            return exc


def _deal(item: tuple[list[Any], bool] | RequestError, answers: Any) -> Any:
    if isinstance(item, RequestError):
        return item
    rows, is_single = item
    own = [next(answers) for _ in rows]
    return own[0] if is_single else own
