"""`hatchway accept`: what drifts is the new normal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Format, FormatOption, Output
from hatchway.errors import UsageError

if TYPE_CHECKING:
    from hatchway.spec.monitoring import AcceptedChange

EXAMPLES = (
    "hatchway accept iris",
    "hatchway accept iris --field input.age --field output.label",
    "hatchway accept iris --undo",
)


def accept(
    name: NameArgument,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD", help="Only this field, as `get` names it; may be repeated."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was accepted last.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """Say that drift is real and wanted: what drifts is the new normal.

    The fields that drift are compared with what was seen of them since it began, once that is a day; all others keep
    their baseline. The verdict, the condition and the alert clear at once. `get NAME` tells what was accepted, when and
    by whom.
    """
    out = Output.open(output)
    if undo and fields:
        raise UsageError(
            "--undo takes back all fields that were accepted together", hint=f"hatchway accept {name} --undo"
        )
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        found = client.undo_accept(wanted) if undo else client.accept(wanted, fields=fields)
    if out.is_table:
        out.line(_told(wanted, found))
    else:
        out.data(found)


def _told(name: str, found: AcceptedChange) -> str:
    fields = ", ".join(found.fields)
    if found.undone_at is not None:
        return f"{name}: taken back; compared with the baseline of before: {fields}"
    return f"{name}: what {fields} is like since {found.since} is its new baseline; to take it back: --undo"
