"""`hatchway up`: start the engine, and with it everything that is deployed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine, settings_here
from hatchway.cli.output import Cell, Output
from hatchway.cli.targets import check_local
from hatchway.errors import Conflict

if TYPE_CHECKING:
    from hatchway.settings import Settings

EXAMPLES = ("hatchway up", "hatchway up --port 9000", "hatchway up --host 0.0.0.0", "hatchway up --foreground")


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here until Ctrl-C; for systemd and containers.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="Address the gateway and the dashboard listen on; 0.0.0.0 opens them.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the gateway; 0 = any free one. Default: 8484.")
    ] = None,
) -> None:
    """Start the engine and everything that is deployed.

    Commands that need the engine start it by themselves.
    """
    from hatchway import keeper

    check_local("up", "starts the engine of this machine")
    settings = with_overrides(settings_here(), host, port)
    if foreground:
        raise typer.Exit(keeper.foreground(settings))
    out = Output.open()
    was_running = keeper.is_running(settings)
    with engine(out, settings) as client:
        status = client.status()
    if was_running and port is not None and port not in (0, status.gateway.port):
        raise Conflict(
            f"hatchway is already up, with its gateway on port {status.gateway.port}",
            hint=f"run `hatchway down`, then `hatchway up --port {port}`",
        )
    out.line("hatchway is ", "already up" if was_running else "up", Cell(f"  (engine pid {status.engine.pid})", "dim"))
    out.line("gateway  ", status.gateway.url)
    out.line("home     ", status.home)
    apis = ", ".join(f"{count} {phase}" for phase, count in status.apis.items() if count)
    out.line("APIs     ", apis or "none yet: hatchway init, hatchway deploy")


def with_overrides(settings: Settings, host: str | None, port: int | None) -> Settings:
    if host is not None:
        settings = dataclasses.replace(settings, host=host)
    if port is not None:
        settings = dataclasses.replace(settings, gateway_port=port)
    return settings
