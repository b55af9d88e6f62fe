"""The command line: one file per verb, `main.py` puts them together, `output.py` prints.

A verb asks the engine through `hatchway.client` (connect.py) and shows the answer; it decides nothing itself. Heavy
imports (pydantic, httpx, rich) stay inside the functions that need them, so that `hatchway version` and shell
completion answer at once.
"""
