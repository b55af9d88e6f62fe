"""Spellings of Cortex 0.10 to 0.42, and kinds to come: each is answered with what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hatchway.spec.problems import Problem
from hatchway.spec.variables import Path


@dataclass(frozen=True)
class Advice:
    """A document without what was answered; `problems` has the answers."""

    document: dict[str, Any]
    problems: tuple[Problem, ...] = ()

    def written(self, path: Path) -> Path:
        """Where a path of `document` is in the document as written."""
        return path

    def answers(self, problem: Problem) -> bool:
        """Whether an answer already covers this problem."""
        return False


def refuse_kind(document: dict[str, Any]) -> Problem | None:
    """The answer to a kind that cannot be deployed (yet)."""
    kind = document.get("kind", "RealtimeAPI")
    if kind in ("AsyncAPI", "BatchAPI", "TaskAPI", "TrafficSplitter"):
        return Problem(("kind",), f"{kind} comes in a later release; this one deploys RealtimeAPI only")
    return None


def advise(document: dict[str, Any]) -> Advice:
    return Advice(document)
