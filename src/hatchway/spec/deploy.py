"""What a client sends to deploy, after it has uploaded the project's files by hash."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hatchway.spec.revision import Source

HEADER_BY = "x-hatchway-by"  # who sends a request, as user@host, percent-encoded: for the history, not for rights


class ApiDocument(BaseModel):
    """One API of a YAML file: as written, with what it refers to.

    `document` keeps `${VAR}` as a reference; `variables` has the values, which are stored apart (mode 0600) and
    never shown. `location` is "hatchway.yaml:12", for messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: dict[str, Any]
    variables: dict[str, str] = Field(default_factory=dict, repr=False)
    source: Source
    location: str = ""


class DeployRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    apis: tuple[ApiDocument, ...]
    dry_run: bool = False
    force: bool = False  # also in the place of an update that goes on


class RollbackRequest(BaseModel):
    """`to`: a revision or the beginning of its name; None for the last one that was live before the present one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str | None = None


class ScaleRequest(BaseModel):
    """So many replicas for `for_s` seconds, whatever the load; 0 seconds end what was asked for before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int | None = None
    for_s: float = Field(ge=0, allow_inf_nan=False)
