"""The windows of an API's traffic, out of the hours that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hatchway.monitoring.baseline import Traffic, Window
from hatchway.monitoring.panes import Key
from hatchway.monitoring.store import HOUR_S, PaneStore


@dataclass(frozen=True)
class Windows:
    """Of one API. `length_s` is a multiple of an hour; starts are multiples of it since the epoch."""

    store: PaneStore
    api: str
    length_s: float

    def starts_s(self, revision: str) -> list[float]:
        """Those that had requests, oldest first."""
        return sorted({start_s // self.length_s * self.length_s for start_s in self.store.hours(self.api, revision)})

    def load(self, revision: str, starts_s: Iterable[float], name: str | None) -> Iterator[Window]:
        """All fields, or the one of this name alone."""
        for start_s in starts_s:
            hours = range(int(start_s), int(start_s + self.length_s), HOUR_S)
            panes = [self.store.load(Key(self.api, revision, HOUR_S, hour), name) for hour in hours]
            found = [pane for pane in panes if pane is not None]
            if found:
                first, *others = found
                for other in others:
                    first.merge(other)
                yield Window(start_s, first.fields)

    def traffic(self, revision: str, until_s: float, *, is_first: bool) -> Traffic:
        """Up to the window that starts at `until_s`. `is_first`: none was shared with the revision before."""
        starts = [start for start in self.starts_s(revision) if start <= until_s]
        if not is_first:
            starts = starts[1:] or starts

        def load(chosen: Sequence[float], name: str | None) -> Iterable[Window]:
            return self.load(revision, chosen, name)

        return Traffic(starts[0] if starts else 0.0, starts, load)
