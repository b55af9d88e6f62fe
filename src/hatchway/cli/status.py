"""`hatchway status`: the engine, the gateway, what is deployed and the disk it uses. It never starts the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatchway.cli.connect import START_TIMEOUT_S, client_elsewhere, settings_here
from hatchway.cli.output import Cell, Format, FormatOption, Output, format_bytes

if TYPE_CHECKING:
    from hatchway.spec.status import Status

EXAMPLES = ("hatchway status", "hatchway status -o json")


def status(output: FormatOption = Format.table) -> None:
    """Show the engine, the gateway and the disk used."""
    from hatchway import keeper
    from hatchway.client import Client
    from hatchway.spec.status import Status

    out = Output.open(output)
    if (elsewhere := client_elsewhere(out)) is not None:
        with elsewhere:
            tell(out, elsewhere.status())
        return
    settings = settings_here()
    if not keeper.is_running(settings):
        if out.is_table:
            out.line(Cell("not running", "yellow"), "  start it with: hatchway up")
            out.line("home  ", str(settings.home))
            if keeper.is_anything_left(settings):
                out.note("processes of it are left; hatchway up takes them over, hatchway down ends them")
        else:
            out.data({**dict.fromkeys(Status.model_fields), "home": str(settings.home), "apis": {}, "disk_bytes": {}})
        return
    has_lost_home = keeper.has_lost_home(settings)
    if not has_lost_home:  # starting would make the home anew
        keeper.start(settings, timeout_s=START_TIMEOUT_S)  # there is a keeper: this waits for the engine it brings up
    with Client(socket=settings.engine_socket) as client:
        found = client.status()
    if has_lost_home:
        out.note(f"{settings.home} was removed; end what is left with: hatchway down")
    tell(out, found)


def tell(out: Output, found: Status) -> None:
    if out.is_table:
        show(out, found)
    else:
        out.data(found)


def show(out: Output, found: Status) -> None:
    apis = ", ".join(f"{count} {phase}" for phase, count in found.apis.items() if count) or "none"
    disk = ", ".join(f"{folder} {format_bytes(count)}" for folder, count in found.disk_bytes.items() if count)
    gateway = f"pid {found.gateway.pid}" if found.gateway.pid else "not running"
    rows: list[list[str | Cell]] = [
        ["engine", Cell("running", "green"), f"pid {found.engine.pid}, version {found.engine.version}"],
        ["gateway", found.gateway.url, gateway],
        ["dashboard", found.dashboard.url if found.dashboard else "none", "open it with: hatchway dashboard"],
        ["APIs", apis, ""],
        ["home", found.home, disk],
    ]
    out.table((), rows)
