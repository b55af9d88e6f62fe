"""Requests to an API through the gateway: a payload as a body, and what came back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hatchway.errors import PredictionFailed

if TYPE_CHECKING:
    import httpx

JSON = "application/json"


@dataclass(frozen=True)
class Prediction:
    """An answer of an API."""

    status: int
    content_type: str
    body: bytes
    request_id: str

    @property
    def value(self) -> Any:
        """The answer by its type: JSON decoded, text as str, anything else as bytes. Raises PredictionFailed."""
        kind = self.content_type.partition(";")[0].strip()
        if kind == JSON or kind.endswith("+json"):
            return _decoded(self)
        return self.body.decode(errors="replace") if kind.startswith("text/") else self.body


def _decoded(answer: Prediction) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError as exc:
        raise PredictionFailed(
            f"the answer says that it is JSON and cannot be read: {exc}",
            status=answer.status,
            request_id=answer.request_id,
        ) from exc


def body_of(payload: Any, content_type: str | None) -> tuple[bytes, str]:
    if isinstance(payload, bytes):
        return payload, content_type or "application/octet-stream"
    if isinstance(payload, str) and content_type is not None:
        return payload.encode(), content_type
    if isinstance(payload, str):
        return payload.encode(), "text/plain; charset=utf-8"
    return json.dumps(payload).encode(), content_type or JSON


def prediction(name: str, answer: httpx.Response) -> Prediction:
    found = Prediction(
        status=answer.status_code,
        content_type=answer.headers.get("content-type", ""),
        body=answer.content,
        request_id=answer.headers.get("x-request-id", ""),
    )
    if answer.is_success:
        return found
    raise PredictionFailed(
        f"{name} answered {answer.status_code}: {answer.text[:2000].strip()}",
        status=answer.status_code,
        request_id=found.request_id,
    )
