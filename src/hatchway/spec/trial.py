"""One request to an API that is sent by way of the control API, and its answer: what the dashboard's form sends."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hatchway.spec.status import Wire


class TrialRequest(BaseModel):
    """`path` is below the API's endpoint. The body is text, or base64 of bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str = Field(default="", max_length=2000)
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    body: str | None = None
    body_base64: str | None = None


class TrialAnswer(Wire):
    """What came back, the first part of it where it is large or never ends."""

    status: int
    took_ms: float  # until the last byte that is told
    headers: tuple[tuple[str, str], ...]
    request_id: str
    body: str | None  # as text; None when it is none
    body_base64: str | None
    is_cut: bool
