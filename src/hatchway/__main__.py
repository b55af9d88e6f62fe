"""`python -m hatchway` is the command line."""

from __future__ import annotations

from hatchway.cli.main import main

main()
