"""Panels over one axis of time, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, PANEL_HEIGHT = 860, 220
LEFT, RIGHT, TOP, GAP, BOTTOM = 70, 20, 50, 46, 50
COLOURS = ("#0b62a4", "#d9541e", "#3a7d2c")
TICKS = 5

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Dots for single events, lines for figures of each second, steps for numbers that jump, levels for limits."""

    label: str
    dots: Points = ()
    lines: Mapping[str, Points] = field(default_factory=dict)
    steps: Mapping[str, Points] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)

    @property
    def top(self) -> float:
        """The end of its axis, which begins at 0."""
        series = [self.dots, *self.lines.values(), *self.steps.values()]
        return max([*(y for points in series for _, y in points), *self.levels.values()]) * 1.05


def draw(title: str, time_label: str, times: tuple[float, float], panels: Sequence[Panel]) -> str:
    """`times`: the first and the last, in the unit of the points. Everything outside is left out."""
    height = TOP + len(panels) * (PANEL_HEIGHT + GAP) - GAP + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 24, title, size=15),
    ]
    for number, panel in enumerate(panels):
        parts.append(_draw_panel(panel, times, TOP + number * (PANEL_HEIGHT + GAP)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 12, time_label, anchor="middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_panel(panel: Panel, times: tuple[float, float], top: float) -> str:
    first, last = times
    step = _tick(panel.top)

    def x(at: float) -> float:
        return round(LEFT + (at - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(top + PANEL_HEIGHT * (1 - value / panel.top), 1)

    parts = [_text(LEFT, top - 8, panel.label, size=13)]
    for number in range(int(panel.top / step) + 1):
        parts += [_line(LEFT, y(number * step), WIDTH - RIGHT, "#ddd")]
        parts += [_text(LEFT - 8, y(number * step) + 4, f"{number * step:g}", anchor="end")]
    time_step = _tick(last - first)
    for number in range(math.ceil(first / time_step), int(last / time_step) + 1):
        parts += [_text(x(number * time_step), top + PANEL_HEIGHT + 16, f"{number * time_step:g}", anchor="middle")]
    if panel.dots:
        dots = "".join(f"M{x(at)} {y(value)}h0" for at, value in _within(panel.dots, times))
        parts.append(f'<path d="{dots}" stroke="#aaa" stroke-width="3" stroke-linecap="round"/>')
    legend = []
    for name, value in panel.levels.items():
        parts.append(_line(LEFT, y(value), WIDTH - RIGHT, "#b00", dashes="5 4"))
        legend.append((name, "#b00"))
    series = [(name, list(points)) for name, points in panel.lines.items()]
    series += [(name, _stairs(points)) for name, points in panel.steps.items()]
    for (name, points), colour in zip(series, COLOURS, strict=False):
        path = " ".join(f"{x(at)},{y(value)}" for at, value in _within(points, times))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        legend.append((name, colour))
    for number, (name, colour) in enumerate(reversed(legend)):
        parts.append(_text(WIDTH - RIGHT - number * 170, top - 8, name, anchor="end", colour=colour))
    return "\n".join(parts)


def _within(points: Points, times: tuple[float, float]) -> list[tuple[float, float]]:
    return [point for point in points if times[0] <= point[0] <= times[1]]


def _stairs(points: Points) -> list[tuple[float, float]]:
    """A number holds until the next one."""
    found: list[tuple[float, float]] = []
    for at, value in points:
        if found:
            found.append((at, found[-1][1]))
        found.append((at, value))
    return found


def _tick(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that about five of them fill the span."""
    power = 10 ** math.floor(math.log10(span / TICKS))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / TICKS))


def _line(x: float, y: float, to: float, colour: str, dashes: str = "") -> str:
    return f'<line x1="{x}" y1="{y}" x2="{to}" y2="{y}" stroke="{colour}" stroke-dasharray="{dashes or "none"}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
