"""`hatchway alerts`: what goes on, and whether anybody was told; `--test` tries an API's webhook."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_if_used, engine_of
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Cell, Format, FormatOption, Output, format_age
from hatchway.errors import HatchwayError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.alerts import AlertStatus

EXAMPLES = ("hatchway alerts", "hatchway alerts iris --test")

SEVERITY_STYLES = {"critical": "red", "warning": "yellow"}
DELIVERY_STYLES = {"sent": "green", "waiting": "yellow", "failed": "red"}
EXPENDABLE = ("SEVERITY", "WEBHOOK")


def alerts(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name of an API. Default: all.", autocompletion=complete_api),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Post a message for trying to the API's webhook.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """List the alerts that go on, or try an API's webhook.

    An API in trouble posts to the address in monitoring.alerts.webhook of its YAML, or in HATCHWAY_ALERT_WEBHOOK.
    """
    out = Output.open(output)
    if test:
        if name is None:
            raise UsageError("--test needs the name of an API", hint="hatchway alerts NAME --test")
        send_test(out, api_name(name))
    else:
        show(out, None if name is None else api_name(name))


def send_test(out: Output, name: str) -> None:
    with engine_of(name, out) as client:
        found = client.test_alert(name)
    if not found.taken:
        raise HatchwayError(
            f"{found.webhook} {found.receiver}",
            hint="check the address: monitoring.alerts.webhook of the API, or HATCHWAY_ALERT_WEBHOOK",
        )
    if out.is_table:
        out.line(f"{found.webhook} {found.receiver}")
    else:
        out.data(found)


def show(out: Output, name: str | None) -> None:
    client = engine_if_used(out) if name is None else engine_of(name, out)
    found: Sequence[AlertStatus] = ()
    if client is not None:
        with client:
            if name is not None:
                client.get(name)  # an API that is not there is an error, not one without alerts
            found = [alert for alert in client.alerts() if name in (None, alert.api)]
    if not out.is_table:
        out.data(list(found))
    elif not found:
        out.line("no alerts")
    else:
        for line in alert_lines(out, found, time.time()):
            out.print(line)


def alert_lines(out: Output, found: Sequence[AlertStatus], now: float) -> Iterator[Text]:
    headers = ["API", "ALERT", "SEVERITY", "SINCE", "TOLD", "WEBHOOK", "MESSAGE"]
    rows: list[list[str | Cell]] = [
        [
            alert.api,
            alert.alert,
            Cell(alert.severity, SEVERITY_STYLES[alert.severity]),
            format_age(alert.since, now),
            Cell(alert.delivery, DELIVERY_STYLES[alert.delivery]),
            alert.webhook,
            alert.message if alert.delivery == "sent" else f"{alert.message} (the receiver {alert.receiver})",
        ]
        for alert in found
    ]
    yield from out.table_lines(headers, rows, expendable=EXPENDABLE)
