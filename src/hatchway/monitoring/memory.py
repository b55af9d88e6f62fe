"""What is remembered of a revision between looks, to be kept as JSON. Pure."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hatchway.monitoring.baseline import Source
from hatchway.monitoring.drift import Rules, Wobbles
from hatchway.monitoring.persistence import Standing
from hatchway.monitoring.wobble import Wobble

log = logging.getLogger("monitor")


@dataclass(frozen=True)
class Memory:
    """Of one revision, between looks.

    `unclean_s`: starts of windows that showed drift, and so are no part of the first period. `learnt_of`: how many
    days of which period `wobbles` are, see `Period.key`. `rhythmic`: fields that are compared with training data by
    whole days. `rules`: what all of it was found by.
    """

    source: Source | None = None
    standings: Mapping[str, Standing] = field(default_factory=dict)
    unclean_s: frozenset[float] = frozenset()
    wobbles: Wobbles = field(default_factory=dict)
    rhythmic: frozenset[str] = frozenset()
    learnt_of: Mapping[str, int] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)

    def under(self, rules: Rules) -> Memory:
        """The same for other rules; what is held stays until windows contradict it."""
        if rules == self.rules:
            return self
        return replace(
            self,
            standings={name: Standing(one.is_drifting, since_s=one.since_s) for name, one in self.standings.items()},
            unclean_s=_windows_of(self.unclean_s, self.rules.window_s, rules.window_s),
            learnt_of=self.learnt_of if _learn_alike(rules, self.rules) else {},
            rules=rules,
        )

    def without(self, names: Collection[str]) -> Memory:
        """As if these fields had never drifted; what is compared with what is learnt anew."""
        kept = {name: one for name, one in self.standings.items() if name not in names}
        return replace(self, standings=kept, learnt_of={})

    def to_json(self) -> str:
        document = {
            "source": self.source,
            "standings": {name: asdict(standing) for name, standing in self.standings.items()},
            "unclean_s": sorted(self.unclean_s),
            "wobbles": {
                name: {aspect: [w.size, None if math.isinf(w.freedom) else w.freedom] for aspect, w in aspects.items()}
                for name, aspects in self.wobbles.items()
            },
            "rhythmic": sorted(self.rhythmic),
            "learnt_of": dict(self.learnt_of),
            "rules": asdict(self.rules),
        }
        return json.dumps(document)

    @classmethod
    def read(cls, text: str) -> Memory:
        """The same of any release: what another one wrote may lack something, and is learnt anew then."""
        try:
            return cls.from_json(text)
        except (ValueError, KeyError, TypeError) as exc:
            log.warning("what was learnt is learnt anew: %s", exc)
            return cls()

    @classmethod
    def from_json(cls, text: str) -> Memory:
        """What `to_json` gave, of this release or the one before. Raises ValueError, KeyError or TypeError."""
        document = json.loads(text)
        return cls(
            document["source"],
            {name: Standing(**standing) for name, standing in document["standings"].items()},
            frozenset(document["unclean_s"]),
            {
                name: {
                    aspect: Wobble(size, math.inf if freedom is None else freedom)
                    for aspect, (size, freedom) in aspects.items()
                }
                for name, aspects in document["wobbles"].items()
            },
            frozenset(document["rhythmic"]),
            _learnt_of(document["learnt_of"]),
            Rules(**document.get("rules", {})),
        )


def _learn_alike(rules: Rules, former: Rules) -> bool:
    """Whether what was learnt by one holds for the other: which fields have a rhythm goes by `min_effect`."""
    return (rules.window_s, rules.min_effect) == (former.window_s, former.min_effect)


def _learnt_of(kept: Any) -> dict[str, int]:
    """The release before knew one period, as a pair, or none."""
    return dict(kept) if isinstance(kept, dict) else dict([kept] if kept else ())


def _windows_of(starts_s: frozenset[float], former_s: float, window_s: float) -> frozenset[float]:
    """The windows of `window_s` that these, which are `former_s` long, lie in or hold."""
    found = set()
    for start in starts_s:
        at = start // window_s * window_s
        while at < start + former_s:
            found.add(at)
            at += window_s
    return frozenset(found)
