"""`hatchway env`: the targets that commands can act on: this machine, and clusters."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.output import Cell, Format, FormatOption, Output
from hatchway.cli.targets import complete_target, target_here
from hatchway.errors import UsageError

if TYPE_CHECKING:
    from hatchway.spec.status import TargetEntry
    from hatchway.targets import Cluster, Target

HELP = """Name clusters, and choose where commands act.

A target is local, which is this machine and always there; a cluster that your kubeconfig knows; or the address of an
operator and a token. Every command takes --env TARGET; HATCHWAY_ENV names one for a shell, `env use` for good."""

ADD_EXAMPLES = (
    "hatchway env add prod --context lab --namespace models",
    "hatchway env add prod",
    "hatchway env add prod --url https://hatchway.example.com",
    "hatchway env add prod --url https://hatchway.example.com --token - < token.txt",
)
LIST_EXAMPLES = ("hatchway env list", "hatchway env list -o json")
USE_EXAMPLES = ("hatchway env use prod", "hatchway env use local")
REMOVE_EXAMPLES = ("hatchway env remove prod",)

STDIN = "-"

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="Name of a target.", autocompletion=complete_target, show_default=False)
]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.", show_default=False)],
    context: Annotated[
        str | None, typer.Option(metavar="CONTEXT", help="Of your kubeconfig. Default: its current one.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAMESPACE", help="Where Hatchway is. Default: the context's own.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another kubeconfig than KUBECONFIG names.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The operator's address, if it has one.")] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="For an address; - reads it from stdin. Default: it is asked for."),
    ] = None,
) -> None:
    """Name a cluster, so that commands can act on it.

    Nothing is sent there. The context and namespace of now are kept, whatever becomes the kubeconfig's current one.
    """
    from hatchway import targets
    from hatchway.cli.connect import settings_here

    out = Output.open()
    targets.check_name(name)
    if url is not None:
        if context or namespace or kubeconfig:
            raise UsageError("a target is an address, or a context with a namespace", hint="leave one of them out")
        made: targets.Cluster | targets.Address = targets.Address(name, targets.check_url(url), read_token(token))
    elif token is not None:
        raise UsageError("a token is for an address: --url", hint="in a cluster its Secret has it")
    else:
        made = cluster(name, context, namespace, kubeconfig)
    with targets.changing(settings_here().targets_file) as draft:
        draft.targets = draft.targets.with_target(made)
    out.line(Cell(name, "bold"), f" is {made.place}")
    out.note(Cell(f"act on it with --env {name}, or from now on with: hatchway env use {name}", "dim"))


def list_targets(output: FormatOption = Format.table) -> None:
    """List the targets, and say which one is in use."""
    from hatchway import targets
    from hatchway.cli.connect import settings_here

    out = Output.open(output)
    current = target_here()
    entries = [to_entry(target, current) for target in targets.read(settings_here().targets_file).all()]
    if not out.is_table:
        out.data(entries)
        return
    rows: list[list[str | Cell]] = [
        [Cell("*" if entry.current else "", "green"), entry.name, entry.place] for entry in entries
    ]
    out.table(["", "NAME", "WHERE"], rows)


def use(name: TargetArgument) -> None:
    """Have commands act on a target from now on; local is this machine."""
    from hatchway import targets
    from hatchway.cli.connect import settings_here

    out = Output.open()
    with targets.changing(settings_here().targets_file) as draft:
        draft.targets = draft.targets.using(name)
    out.line(f"commands act on {name}: {draft.targets.get(name).place}")
    if os.environ.get(targets.VARIABLE):
        out.note(f"note: not in this shell, where {targets.VARIABLE} is {os.environ[targets.VARIABLE]}")


def remove(name: TargetArgument) -> None:
    """Forget a target. What is deployed there stays as it is."""
    from hatchway import targets
    from hatchway.cli.connect import settings_here

    out = Output.open()
    with targets.changing(settings_here().targets_file) as draft:
        was_current = draft.targets.current == name
        draft.targets = draft.targets.without(name)
    out.line(f"{name} is forgotten; what is deployed there stays")
    if was_current:
        out.note("commands act on this machine again")


def read_token(given: str | None) -> str:
    """From the option, from stdin, or asked for. Raises UsageError."""
    if given == STDIN:
        given = sys.stdin.readline()
    elif given is None:
        if not sys.stdin.isatty():
            raise UsageError("an address needs a token", hint="--token - reads it from stdin")
        given = str(typer.prompt("token", hide_input=True, err=True))
    token = given.strip()
    if not token or not token.isascii() or any(char.isspace() for char in token):
        raise UsageError("that is not a token")
    return token


def cluster(name: str, context: str | None, namespace: str | None, kubeconfig: Path | None) -> Cluster:
    """As the kubeconfig says now. Raises UsageError."""
    from hatchway.client.ways import needs_extra
    from hatchway.targets import Cluster

    with needs_extra():
        from hatchway.kubernetes.connection import find_context
    # Kept with the target: another shell may have another KUBECONFIG, with another cluster under that name.
    given = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG")
    file = Path(given).expanduser().absolute() if given else None
    found = find_context(context, kubeconfig=file)
    return Cluster(name, found.context, namespace or found.namespace, None if file is None else str(file))


def to_entry(target: Target, current: Target) -> TargetEntry:
    from hatchway.spec.status import TargetEntry

    return TargetEntry(
        name=target.name,
        current=target == current,
        place=target.place,
        context=getattr(target, "context", None),
        namespace=getattr(target, "namespace", None),
        url=getattr(target, "url", None),
    )
