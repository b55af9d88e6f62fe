"""What `uv` says when it cannot install something."""

from __future__ import annotations

import re

_MAX_CHARS = 2000


def explain(output: str) -> str:
    """uv's own explanation out of all it printed, without decoration."""
    found = re.search(r"^\s*(?:×|error:)", output, re.MULTILINE)
    text = output[found.start() :] if found else output
    lines = (re.sub(r"^[\s×╰─▶│]+|\s+$", "", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)[:_MAX_CHARS]
