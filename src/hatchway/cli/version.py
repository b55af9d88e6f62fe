"""`hatchway version`: which Hatchway this is."""

from __future__ import annotations

from hatchway import __version__
from hatchway.cli.output import Format, FormatOption, Output

EXAMPLES = ("hatchway version", "hatchway version -o json")


def version(output: FormatOption = Format.table) -> None:
    """Print the version of Hatchway."""
    if output is Format.table:
        print(f"hatchway {__version__}")
    else:
        Output.open(output).data({"version": __version__})
