"""What a client sends besides a deploy: small, so that a command which asks for little imports little."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

HEADER_BY = "x-hatchway-by"  # who sends a request, as user@host, percent-encoded: for the history, not for rights


class RollbackRequest(BaseModel):
    """`to`: a revision or the beginning of its name; None for the last one that was live before the present one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str | None = None


class ScaleRequest(BaseModel):
    """So many replicas for `for_s` seconds, whatever the load; 0 seconds end what was asked for before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int | None = None
    for_s: float = Field(ge=0, allow_inf_nan=False)


class AcceptRequest(BaseModel):
    """What these fields are like since they drift is their baseline from now on; None: all that drift.

    `undo`: take the last one back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[str, ...] | None = Field(default=None, min_length=1)
    undo: bool = False
