"""Metrics as Prometheus reads them: the text format 0.0.4, which every scraper takes. Pure.

Written here rather than by prometheus-client: that is made for what a program counts itself; all of this is counted
by others, and the format is forty lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hatchway.metrics.catalogue import Kind, Metric

Labels = Sequence[tuple[str, str]]


@dataclass
class Family:
    """All samples of one metric, which stand together."""

    name: str
    kind: Kind
    help: str = ""
    samples: dict[str, str] = field(default_factory=dict)  # name with labels -> value; the first of two counts

    @classmethod
    def of(cls, metric: Metric) -> Family:
        return cls(metric.name, metric.kind, metric.help)

    def add(self, value: float, labels: Labels = (), suffix: str = "") -> None:
        self.samples.setdefault(f"{self.name}{suffix}{_braces(written(labels))}", number(value))

    def add_histogram(
        self, bounds: Iterable[float], cumulated: Sequence[int], total: float, labels: Labels = ()
    ) -> None:
        """`cumulated[i]` values are at most `bounds[i]`, the last of `cumulated` is all; `total` is their sum."""
        before = written(labels)
        name = f"{self.name}_bucket{{{before}{',' if before else ''}le="
        for bound, count in zip(bounds, cumulated, strict=False):
            self.samples.setdefault(f'{name}"{number(bound)}"}}', str(count))
        self.samples.setdefault(f'{name}"+Inf"}}', str(cumulated[-1]))
        self.samples.setdefault(f"{self.name}_sum{_braces(before)}", number(total))
        self.samples.setdefault(f"{self.name}_count{_braces(before)}", str(cumulated[-1]))

    def to_text(self) -> str:
        """Nothing when there are no samples."""
        if not self.samples:
            return ""
        head = f"# HELP {self.name} {_one_line(self.help)}\n" if self.help else ""
        lines = "\n".join([f"{name} {value}" for name, value in self.samples.items()])
        return f"{head}# TYPE {self.name} {self.kind}\n{lines}\n"


def written(labels: Labels) -> str:
    """As they stand between the braces."""
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in labels])


def number(value: float) -> str:
    """As short as it can be, and exact."""
    if math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _braces(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
