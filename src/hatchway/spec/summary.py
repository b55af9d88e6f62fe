"""Every API in a few words, and what changed of it: what a list that is always up to date is told."""

from __future__ import annotations

from typing import Self

from hatchway.spec.status import ApiStatus, Condition, Phase, ReplicaCounts, Wire

LONGEST_MESSAGE = 200  # characters


class ApiSummary(Wire):
    """An ApiStatus without its specification, replicas and revisions: a list of hundreds stays small."""

    name: str
    kind: str
    status: Phase
    reason: str
    message: str  # its beginning
    revision: str
    endpoint: str
    replicas: ReplicaCounts
    in_flight: int
    conditions: tuple[Condition, ...]  # those that are not "true", and Drift in any case: there "true" is the bad news
    updated_at: str

    @classmethod
    def of(cls, api: ApiStatus) -> Self:
        return cls(
            name=api.name,
            kind=api.kind,
            status=api.status,
            reason=api.reason,
            message=_beginning(api.message),
            revision=api.revision,
            endpoint=api.endpoint,
            replicas=api.replicas,
            in_flight=api.in_flight,
            conditions=tuple(
                one.model_copy(update={"message": _beginning(one.message)})
                for one in api.conditions
                if one.state != "true" or one.type == "Drift"
            ),
            updated_at=api.updated_at,
        )


class Summaries(Wire):
    """All APIs (`is_all`), or those that changed, and the names of those that are gone."""

    is_all: bool
    apis: tuple[ApiSummary, ...]
    gone: tuple[str, ...] = ()


def _beginning(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
