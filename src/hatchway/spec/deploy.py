"""What a client sends to deploy, after it has uploaded the project's files by hash."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hatchway.spec.revision import Source


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
