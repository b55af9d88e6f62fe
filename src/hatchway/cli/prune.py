"""`hatchway prune`: remove what no API needs."""

from __future__ import annotations

from hatchway.cli.connect import engine_if_used
from hatchway.cli.output import Format, FormatOption, Output, format_bytes

EXAMPLES = ("hatchway prune", "hatchway prune -o json")


def prune(output: FormatOption = Format.table) -> None:
    """Remove what no API needs any more.

    Old revisions and the files, Python environments and logs that only they needed.
    """
    out = Output.open(output)
    client = engine_if_used(out)
    if client is None:
        freed = {}
    else:
        with client:
            freed = client.prune()
    if not out.is_table:
        out.data(freed)
        return
    out.line(f"freed {format_bytes(sum(freed.values()))}" if any(freed.values()) else "nothing to remove")
    for folder, count in freed.items():
        if count:
            out.line(f"  {folder}  {format_bytes(count)}")
