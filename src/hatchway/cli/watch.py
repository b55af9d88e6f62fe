"""`get --watch` where no picture can be drawn: a line, or a JSON object, for each API that changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hatchway.cli.looks import again_and_again
from hatchway.cli.output import Output

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.spec.status import ApiStatus


def every_list(client: Client) -> Iterator[list[ApiStatus]]:
    """The list again and again: the engine tells of changes of one API, but not of APIs that come and go.

    An engine that goes away is followed by another one. Raises EngineUnavailable.
    """
    return (apis for apis in again_and_again(client.list, client.way) if apis is not None)


def every_state(client: Client, name: str) -> Iterator[list[ApiStatus]]:
    """The API now and after each change, until it is gone. Raises NotFound."""
    from hatchway.spec.status import ApiStatus

    for event in client.watch(name):
        if isinstance(event, ApiStatus):
            yield [event]


def print_changes(out: Output, states: Iterable[Sequence[ApiStatus]]) -> None:
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
