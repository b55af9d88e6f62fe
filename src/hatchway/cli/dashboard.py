"""`hatchway dashboard`: open what the engine serves for browsers, by a link that works once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hatchway.cli.connect import engine
from hatchway.cli.output import Cell, Format, FormatOption, Output

EXAMPLES = ("hatchway dashboard", "hatchway dashboard --no-browser", "hatchway dashboard -o json")


def dashboard(
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser of this machine.")
    ] = True,
    output: FormatOption = Format.table,
) -> None:
    """Open the dashboard in a browser.

    The link works once, for ten minutes, and the session it opens lasts 30 days. The engine serves the dashboard
    itself: nothing has to keep running here, unless it is in a cluster without an address: then Ctrl-C ends it.
    """
    out = Output.open(output)
    with engine(out) as client:
        link = client.dashboard_link()
        base = client.way.browser_url()
        if base is None:
            show_link(out, link, browser=browser)
            return
        show_link(out, at(link, base), browser=browser)
        if client.way.is_carried:
            out.note("carried by this command until Ctrl-C")
            threading.Event().wait()


def at(link: str, base: str) -> str:
    """The link as it reads from here: the operator does not know what it is called outside of its cluster."""
    parts = urlsplit(link)
    return f"{base}{parts.path}?{parts.query}"


def show_link(out: Output, link: str, *, browser: bool) -> None:
    if not out.is_table:
        out.data({"url": link})
        return
    out.line(link)
    if browser and has_screen(os.environ) and _open(link):
        out.note(Cell("opened in your browser", "dim"))
    else:
        out.note(Cell("open this link; it works once, for ten minutes", "dim"))


def has_screen(environ: Mapping[str, str]) -> bool:
    """Whether a browser would show up, and not take over a terminal or a machine that nobody sits at."""
    if sys.platform == "darwin" or environ.get("BROWSER"):
        return True
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")) and "SSH_CONNECTION" not in environ


def _open(link: str) -> bool:
    import webbrowser

    return webbrowser.open(link)
