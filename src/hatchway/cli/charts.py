"""Numbers over time in block characters: a line of them, or a small chart with its scale. Pure.

Charts keep to the right: the newest value is always at the same place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

BLOCKS = " ▁▂▃▄▅▆▇█"
STEPS = len(BLOCKS) - 1  # heights of one character

Values = Sequence[float | None]


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def squeeze(values: Values, width: int, how: Callable[[Iterable[float]], float]) -> list[float | None]:
    """At most `width` values, the newest last; `how` makes one of several. None is where nothing was known."""
    if len(values) <= width:
        return list(values)
    cuts = [round(column * len(values) / width) for column in range(width + 1)]
    groups = [values[start:end] for start, end in pairwise(cuts)]
    return [how(known) if (known := [one for one in group if one is not None]) else None for group in groups]


def sparkline(values: Values, width: int) -> str:
    """One line, `width` wide. What is zero lies on the ground, what is not known is not there."""
    columns = squeeze(values, width, mean)
    highest = max((one for one in columns if one is not None), default=0.0)
    return "".join(" " if one is None else _block(one, highest) for one in columns).rjust(width)


def _block(value: float, highest: float) -> str:
    if value <= 0 or highest <= 0:
        return BLOCKS[1]
    return BLOCKS[max(1, round(value / highest * STEPS))]


def chart(
    values: Values, width: int, height: int, how: Callable[[Iterable[float]], float], show: Callable[[float], str]
) -> list[str]:
    """`height` lines, at most `width` wide, with the scale at the left; it begins at zero."""
    known = [one for one in values if one is not None]
    top = round_up(max(known, default=0.0))
    labels = [show(top) if row == 0 else "0" if row == height - 1 else "" for row in range(height)]
    margin = max(map(len, labels))
    columns = squeeze(values, width - margin - 1, how)
    lines = []
    for row, label in enumerate(labels):
        below = (height - 1 - row) * STEPS
        bars = "".join(" " if one is None else _slice(one / top * height * STEPS - below) for one in columns)
        lines.append(f"{label:>{margin}}│{bars:>{width - margin - 1}}")
    return lines


def _slice(left: float) -> str:
    """What a bar fills of one character when `left` eighths of it reach above the character's lower edge."""
    return BLOCKS[min(STEPS, max(0, math.ceil(left - 1e-9)))]


def round_up(value: float) -> float:
    """The next of 1, 2, 3, 4, 6, 8, 10, 20, ... so that a scale is easy to read and seldom moves."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 3, 4, 6, 8) if value <= step * power * (1 + 1e-9)), 10 * power)


def bar(share: float, width: int) -> str:
    """How far something is: `████░░░░`."""
    full = round(min(1.0, max(0.0, share)) * width)
    return "█" * full + "░" * (width - full)


def format_rate(per_s: float) -> str:
    """ "0", "0.05", "3.1", "120", "4.2k"."""
    if per_s == 0:
        return "0"
    if per_s >= 1000:
        return f"{per_s / 1000:.3g}k"
    return f"{per_s:.3g}" if per_s >= 10 else f"{per_s:.2g}"


def format_ms(ms: float) -> str:
    """ "0.4 ms", "12 ms", "3.2 s"."""
    if ms >= 1000:
        return f"{ms / 1000:.3g} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2g} ms"
