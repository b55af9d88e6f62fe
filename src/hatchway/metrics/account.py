"""The count of one API's requests over all Envoys that a home has had. Pure.

An Envoy counts from 0 again when it was started again; what the former one had counted, as far as anybody saw it, is
carried on. An engine that dies loses nothing: the next one asks the Envoy that lived on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hatchway.gateway.served import Tally

NOTHING = Tally()


@dataclass(frozen=True)
class Account:
    """`base` is of Envoys that are gone, `last` what the one named `envoy` had counted when it was last asked."""

    envoy: str = ""
    base: Tally = NOTHING
    last: Tally = NOTHING

    def seen(self, envoy: str, tally: Tally) -> Account:
        """After another look. Less than before, from the same Envoy, is a statistic that it began anew.

        Retries are the cluster's, which goes when its API is deleted; the others stay.
        """
        if envoy != self.envoy or not tally.is_after(self.last):
            return Account(envoy, self.base.plus(self.last), tally)
        carried = self.last.retries if tally.retries < self.last.retries else 0
        return Account(envoy, replace(self.base, retries=self.base.retries + carried), tally)

    def total(self) -> Tally:
        return self.base.plus(self.last)

    def to_json(self) -> str:
        return json.dumps({"envoy": self.envoy, "base": _to_dict(self.base), "last": _to_dict(self.last)})

    @classmethod
    def from_json(cls, text: str) -> Account:
        """Raises ValueError, KeyError or TypeError for what another release wrote."""
        data = json.loads(text)
        return cls(data["envoy"], _from_dict(data["base"]), _from_dict(data["last"]))


def _to_dict(tally: Tally) -> dict[str, Any]:
    return {
        "answers": [[revision, status, count] for (revision, status), count in tally.answers.items()],
        "held": tally.held,
        "retries": tally.retries,
        "microseconds": tally.microseconds,
        "buckets": tally.buckets,
    }


def _from_dict(data: Mapping[str, Any]) -> Tally:
    return Tally(
        {(str(revision), int(status)): int(count) for revision, status, count in data["answers"]},
        int(data["held"]),
        int(data["retries"]),
        int(data["microseconds"]),
        tuple(map(int, data["buckets"])),
    )
