"""A picture that fills the terminal and is drawn anew until Ctrl-C, which leaves the terminal as it was before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from hatchway.cli.output import Cell, to_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

    from hatchway.cli.output import Output

T = TypeVar("T")

REDRAWS_PER_S = 2  # so that ages count on while nothing happens, and a resize is seen soon


@dataclass(frozen=True)
class Size:
    """In characters."""

    width: int
    height: int


Render = Callable[[T, Size, float], "Sequence[Text]"]


class Picture(Generic[T]):
    """What was seen last, drawn to whatever size the terminal has now."""

    def __init__(self, render: Render[T]) -> None:
        self._render = render
        self.seen: T | None = None
        self.away_since: float | None = None  # seconds since the epoch; None: the engine answers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.time()
        size = Size(console.width, console.height)
        lines = [] if self.seen is None else [*self._render(self.seen, size, now)]
        if self.away_since is not None:
            told = f"the engine is away since {max(0.0, now - self.away_since):.0f} s; what is shown is from before"
            lines = [to_text(Cell(told, "bold yellow")), *lines]
        for line in lines[: size.height]:
            line.truncate(size.width, overflow="ellipsis")
            yield line


def is_screen(out: Output) -> bool:
    """Whether pictures can be drawn: a terminal that is not dumb, and nobody who asks for JSON."""
    return out.is_table and out.console.is_terminal and not out.console.is_dumb_terminal


def show(out: Output, looks: Iterable[T | None], render: Render[T]) -> None:
    """Draw what is seen until there is no more of it."""
    from rich.live import Live

    picture = Picture(render)
    with Live(picture, console=out.console, screen=True, refresh_per_second=REDRAWS_PER_S) as live:
        for seen in looks:
            if seen is not None:
                picture.seen, picture.away_since = seen, None
                live.refresh()
            elif picture.away_since is None:
                picture.away_since = time.time()
