"""What is known of one revision in one span of time: a sketch per field, and how many requests there were. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hatchway.monitoring.frames import Frame
from hatchway.monitoring.sketches import FieldSketch

MAX_FIELDS = 100  # of one revision; those that come first. 100 full sketches are about 1 MB
PENDING_VALUES = 4096  # that wait before they go into sketches: one update with many costs less than many with one


@dataclass(frozen=True, order=True)
class Key:
    """Whose requests, and of when."""

    api: str
    revision: str
    width_s: int  # MINUTE_S or HOUR_S
    start_s: int  # since the epoch; a multiple of the width


class Known:
    """The fields of one revision, and the place in payloads that each belongs to: who lacks one is seen by that."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, str]] = {}  # place -> name there -> full name
        self._count = 0

    def of(self, place: str) -> Mapping[str, str]:
        """Name there -> full name."""
        return self._places.get(place, {})

    def learn(self, place: str, names: Iterable[str]) -> Mapping[str, str]:
        """The same after these have been seen; fields beyond MAX_FIELDS are not taken up."""
        known = self._places.get(place, {})
        for name in names:
            if name not in known and self._count < MAX_FIELDS:
                known[name] = f"{place}.{name}" if name else place
                self._places[place] = known
                self._count += 1
        return known

    def places(self) -> dict[str, dict[str, str]]:
        return self._places

    @classmethod
    def of_places(cls, places: Mapping[str, Iterable[str]]) -> Known:
        made = cls()
        for place, names in places.items():
            made.learn(place, names)
        return made


@dataclass
class Pane:
    """`fields` may lack what is pending; `settle` brings it in."""

    seen: int = 0
    sampled: int = 0
    fields: dict[str, FieldSketch] = field(default_factory=dict)
    is_changed: bool = False  # since it was stored
    _pending: dict[str, list[Any]] = field(default_factory=dict)
    _absent: dict[str, int] = field(default_factory=dict)
    _n_pending: int = 0

    def add(self, frame: Frame, known: Known) -> None:
        """What one replica saw. A record without a field that others had before lacks it."""
        self.seen += frame.seen
        self.sampled += frame.sampled
        self.is_changed = True
        for place, table in frame.tables.items():
            for name, full in known.learn(place, table.columns).items():
                column = table.columns.get(name, ())
                if full in self._pending:
                    self._pending[full] += column
                else:
                    self._pending[full] = list(column)
                self._n_pending += len(column)
                if len(column) < table.count:
                    self._absent[full] = self._absent.get(full, 0) + table.count - len(column)
        if self._n_pending >= PENDING_VALUES:
            self.settle()

    def settle(self) -> None:
        """Bring what is pending into the sketches."""
        for name, column in self._pending.items():
            sketch = self.fields.get(name)
            if sketch is None:
                sketch = self.fields[name] = FieldSketch()
            sketch.update(column, absent=self._absent.get(name, 0))
        self._pending, self._absent, self._n_pending = {}, {}, 0

    def merge(self, other: Pane) -> None:
        """With what the other knows too, settled both."""
        self.seen += other.seen
        self.sampled += other.sampled
        for name, sketch in other.fields.items():
            if name not in self.fields:
                self.fields[name] = FieldSketch()
            self.fields[name].merge(sketch)
