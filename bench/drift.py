"""How often drift is called where there is none, how soon where there is some: on simulated streams of 50 fields.

    scripts/bench drift                    the table of docs/drift.md, some minutes
    scripts/bench drift --write            and put it there
    scripts/bench drift --apis 4 --only seasonal

Each simulated API has a first week from which the baseline is learnt hour by hour as it would be in use, and one
more. False alarms are counted over both. Then one of the 50 fields changes.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hatchway.monitoring.baseline import Traffic, Window
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.judging import look
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.periods import Known
from hatchway.monitoring.sketches import Column, FieldSketch

FIELDS = 50
HOUR_S = 3600
HOURS_PER_WEEK = 168
QUIET_WEEKS = 2
MAX_HOURS_TO_FIND = 24
DATA_ROWS = 20_000
PAGE = Path(__file__).resolve().parent.parent / "docs" / "drift.md"
START, END = "<!-- bench/drift.py writes from here -->\n", "<!-- to here -->\n"

Values = Callable[["Stream", int, int, int, float], Column]  # stream, field, hour, how many, shift -> values


@dataclass
class Stream:
    """One API's traffic. `rng` is the only source of chance."""

    rng: np.random.Generator
    values: Values
    per_hour: Callable[[int], int]
    walks: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        hours = HOURS_PER_WEEK * (QUIET_WEEKS + 2)
        self.walks = np.zeros((FIELDS, hours))
        keeps = math.exp(-1 / 3)  # a third hour later a deviation is down to 1/e
        for hour in range(1, hours):
            self.walks[:, hour] = keeps * self.walks[:, hour - 1] + math.sqrt(1 - keeps**2) * self.rng.normal(
                size=FIELDS
            )

    def window(self, hour: int, shift: float = 0.0) -> Window:
        n = self.per_hour(hour)
        fields = {}
        for number in range(FIELDS):
            sketch = fields[f"input.f{number:02}"] = FieldSketch()
            sketch.update(self.values(self, number, hour, n, shift if number == 0 else 0.0))
        return Window(hour * HOUR_S, fields)

    def data(self) -> dict[str, FieldSketch]:
        """Training data: rows of a week, each hour by its traffic."""
        share = DATA_ROWS / sum(self.per_hour(hour) for hour in range(HOURS_PER_WEEK))
        fields = {f"input.f{number:02}": FieldSketch() for number in range(FIELDS)}
        for hour in range(HOURS_PER_WEEK):
            n = max(1, round(share * self.per_hour(hour)))
            for number, sketch in enumerate(fields.values()):
                sketch.update(self.values(self, number, hour, n, 0.0))
        return fields


def daily(hour: int) -> float:
    return math.sin(2 * math.pi * hour / 24)


def is_weekend(hour: int) -> bool:
    return hour // 24 % 7 >= 5


def busy_by_day(peak: int) -> Callable[[int], int]:
    """Ten times the requests at the peak of a day as at its bottom; half of it at weekends."""
    return lambda hour: round(peak * (0.55 + 0.45 * daily(hour)) * (0.5 if is_weekend(hour) else 1.0))


def independent(stream: Stream, _: int, __: int, n: int, shift: float) -> Column:
    return stream.rng.normal(size=n) + shift


def seasonal(stream: Stream, number: int, hour: int, n: int, shift: float) -> Column:
    """The mean follows the day, from field to field by up to half a standard deviation, and weekends by up to 0.15."""
    rhythm = 0.5 * (number + 1) / FIELDS * daily(hour) + 0.15 * number / FIELDS * is_weekend(hour)
    return stream.rng.normal(size=n) + rhythm + shift


def seasonal_strong(stream: Stream, _: int, hour: int, n: int, shift: float) -> Column:
    """Every field, also the one that changes, follows the day by half a standard deviation."""
    return stream.rng.normal(size=n) + 0.5 * daily(hour) + shift


def autocorrelated(stream: Stream, number: int, hour: int, n: int, shift: float) -> Column:
    """The mean of an hour wanders by 0.2 standard deviations, and remembers about three hours."""
    return stream.rng.normal(size=n) + 0.2 * float(stream.walks[number, hour]) + shift


def bursts(stream: Stream, _: int, __: int, n: int, shift: float) -> Column:
    """In one of twenty hours a client repeats one request, a third of all."""
    values = stream.rng.normal(size=n) + shift
    if stream.rng.random() < 0.05:
        values[: n // 3] = stream.rng.normal()
    return values


def heavy_tails(stream: Stream, _: int, __: int, n: int, shift: float) -> Column:
    """Log-normal with a sigma of 2: the mean jumps by itself. The shift is of the logarithm."""
    return np.exp(2 * (stream.rng.normal(size=n) + shift))


def categories(stream: Stream, number: int, hour: int, n: int, shift: float) -> Column:
    """Ten values, half of them more often by day; 1 in 200 was never seen before. 0.5 sigma moves 20 %, more 30 %."""
    weights = 1 / np.arange(1.0, 11)
    weights[5:] *= 1 + 0.3 * daily(hour)
    weights /= weights.sum()
    moved = min(0.3, 0.4 * shift)
    weights[0], weights[9] = weights[0] - moved, weights[9] + moved
    chosen = stream.rng.choice(10, size=n, p=weights)
    new = stream.rng.random(n) < 0.005
    return [
        f"new {hour} {i}" if is_new else f"v{value}"
        for i, (value, is_new) in enumerate(zip(chosen.tolist(), new, strict=True))
    ]


def gaps(stream: Stream, number: int, hour: int, n: int, shift: float) -> Column:
    """4 % are missing, in some hours 2 % and in others 8 %. A shift of 0.5 sigma is another 10 %."""
    share = 0.04 * 2 ** (0.5 * float(stream.walks[number, hour])) + 0.2 * shift
    values = stream.rng.normal(size=n)
    values[stream.rng.random(n) < share] = math.nan
    return values


@dataclass(frozen=True)
class Scenario:
    title: str
    values: Values
    per_hour: Callable[[int], int]


SCENARIOS = {
    "independent": Scenario("independent, 1,000 requests an hour", independent, lambda _: 1000),
    "low": Scenario("independent, 100 an hour", independent, lambda _: 100),
    "seasonal": Scenario("days and weekends, 200 to 2,000 an hour", seasonal, busy_by_day(2000)),
    "strong": Scenario("days of half a sigma in each field", seasonal_strong, busy_by_day(2000)),
    "autocorrelated": Scenario("hours that wander, 1,000 an hour", autocorrelated, lambda _: 1000),
    "bursts": Scenario("bursts of one client, 1,000 an hour", bursts, lambda _: 1000),
    "heavy": Scenario("heavy tails, 1,000 an hour", heavy_tails, lambda _: 1000),
    "missing": Scenario("missing values, 1,000 an hour", gaps, lambda _: 1000),
    "categories": Scenario("categories with new values, 1,000 an hour", categories, lambda _: 1000),
}


@dataclass
class Watch:
    """What the monitor does at the end of each hour, without its files."""

    data: dict[str, FieldSketch] | None = None
    rules: Rules = field(default_factory=Rules)
    memory: Memory = field(default_factory=Memory)
    kept: dict[float, Window] = field(default_factory=dict)

    def look(self, window: Window) -> frozenset[str]:
        """Which fields drift, as far as it is known now."""
        self.kept[window.start_s] = window
        traffic = Traffic(0.0, sorted(self.kept), lambda starts, _: (self.kept[start] for start in starts))
        found = look(self.memory, window, Known(traffic, self.data), self.rules)
        self.memory = found.memory
        return frozenset(name for name, told in found.report.fields.items() if told.verdict == "drift")


@dataclass(frozen=True)
class Outcome:
    alarms: int  # onsets of drift in weeks without any
    found: dict[float, int | None]  # shift -> hours until it was called; None: not in a day
    strays: int  # other fields called while one drifted


SHIFTS = (0.25, 0.5, 1.0, 2.0)


def live(name: str, seed: int, with_data: bool) -> Outcome:
    scenario = SCENARIOS[name]
    stream = Stream(np.random.default_rng(seed), scenario.values, scenario.per_hour)
    watch = Watch(stream.data() if with_data else None)
    alarms, before = 0, frozenset[str]()
    quiet = HOURS_PER_WEEK * QUIET_WEEKS
    for hour in range(quiet):
        now = watch.look(stream.window(hour))
        alarms += len(now - before)
        before = now
    found: dict[float, int | None] = {}
    strays = 0
    calm = replace(watch.memory, standings={})
    for shift in SHIFTS:
        watch.memory = calm
        found[shift] = None
        for hour in range(quiet, quiet + MAX_HOURS_TO_FIND):
            drifting = watch.look(stream.window(hour, shift))
            strays += len(drifting - {"input.f00"})
            if "input.f00" in drifting:
                found[shift] = hour - quiet + 1
                break
    return Outcome(alarms, found, strays)


def row(name: str, with_data: bool, outcomes: list[Outcome]) -> str:
    alarms = sum(outcome.alarms for outcome in outcomes)
    weeks = len(outcomes) * QUIET_WEEKS
    cells = [SCENARIOS[name].title, "training data" if with_data else "first week", f"{alarms} in {weeks}"]
    for shift in SHIFTS:
        hours = [outcome.found[shift] for outcome in outcomes]
        seen = [h for h in hours if h is not None]
        cells.append(f"{len(seen)} of {len(hours)}" + (f", {statistics.median(seen):g} h" if seen else ""))
    return "| " + " | ".join(cells) + " |"


def table(names: list[str], apis: int) -> Iterator[str]:
    yield "| stream | baseline | false alarms, in API-weeks | " + " | ".join(f"{s:g} sigma" for s in SHIFTS) + " |"
    yield "|---|---|---|" + "---|" * len(SHIFTS)
    with ProcessPoolExecutor() as workers:
        kinds = [(name, with_data) for name in names for with_data in (False, True)]
        runs = {kind: [workers.submit(live, kind[0], seed, kind[1]) for seed in range(apis)] for kind in kinds}
        for kind, lives in runs.items():
            yield row(*kind, [life.result() for life in lives])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", type=int, default=8, help="simulated APIs for each row")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--write", action="store_true", help="put the table into docs/drift.md")
    args = parser.parse_args()
    lines = []
    for line in table(args.only, args.apis):
        print(line, flush=True)
        lines.append(line)
    if args.write:
        before, rest = PAGE.read_text().split(START)
        PAGE.write_text(before + START + "\n".join(lines) + "\n" + rest[rest.index(END) :])


if __name__ == "__main__":
    main()
