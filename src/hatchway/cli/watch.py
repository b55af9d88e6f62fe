"""`--watch`: on a terminal one picture that is redrawn, in a pipe a line (or a JSON object) per API that changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hatchway.cli.output import Output
from hatchway.errors import EngineUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Group
    from rich.text import Text

    from hatchway.client import Client
    from hatchway.spec.status import ApiStatus

POLL_S = 1.0
REDRAWS_PER_S = 2  # so that ages count on while nothing happens

Render = Callable[["Sequence[ApiStatus]", float], "Iterable[Text]"]


def every_list(client: Client, socket: Path) -> Iterator[list[ApiStatus]]:
    """The list again and again: the engine tells of changes of one API, but not of APIs that come and go.

    An engine that goes away is followed by another one. Raises EngineUnavailable.
    """
    from hatchway.client.absence import Absence
    from hatchway.client.connection import is_listening

    absence = Absence(socket)
    while True:
        try:
            apis = client.list()
        except EngineUnavailable as error:
            while True:
                time.sleep(absence.pause_s(error, time.monotonic()))
                if is_listening(socket):
                    break
        else:
            absence.end()
            yield apis
            time.sleep(POLL_S)


def every_state(client: Client, name: str) -> Iterator[list[ApiStatus]]:
    """The API now and after each change, until it is gone. Raises NotFound."""
    from hatchway.spec.status import ApiStatus

    for event in client.watch(name):
        if isinstance(event, ApiStatus):
            yield [event]


def show_changes(out: Output, states: Iterable[Sequence[ApiStatus]], render: Render) -> None:
    if out.is_table and out.console.is_terminal and not out.console.is_dumb_terminal:
        _redraw(out, states, render)
    else:
        _print_changes(out, states)


def _redraw(out: Output, states: Iterable[Sequence[ApiStatus]], render: Render) -> None:
    from rich.console import Group
    from rich.live import Live

    shown: Sequence[ApiStatus] = []

    def picture() -> Group:
        return Group(*render(shown, time.time()))

    with Live(console=out.console, get_renderable=picture, refresh_per_second=REDRAWS_PER_S) as live:
        for apis in states:
            shown = apis
            live.refresh()


def _print_changes(out: Output, states: Iterable[Sequence[ApiStatus]]) -> None:
    before: dict[str, ApiStatus] = {}
    for apis in states:
        now = {api.name: api for api in apis}
        for name, api in now.items():
            if before.get(name) == api:
                continue
            if not out.is_table:
                out.item(api)
            elif name not in before or _summary(before[name]) != _summary(api):
                out.line(_summary(api))
        if out.is_table:
            for name in before.keys() - now.keys():
                out.line(f"{name}: deleted")
        before = now


def _summary(api: ApiStatus) -> str:
    ready = f"{api.replicas.ready}/{api.replicas.desired} ready"
    return f"{api.name}: {api.status}, {ready}, revision {api.revision}{', ' * bool(api.reason)}{api.reason}"
