"""How many of an API's first replicas go first: pure.

What a handler imports is learned from a replica that has imported it, so the first ones are spawned, and each imports
everything for itself. As many as there are cores do so side by side, which takes no longer than one alone. More of
them would only share those cores; the others wait, and are forked from the template that imports what was learned.
"""

from __future__ import annotations

from collections.abc import Sequence

PATIENCE_S = 10.0  # longer than imports take: whoever is not ready then loads something else, or hangs


def wait_s(begun: Sequence[float], cores: int, now: float) -> float:
    """How long a start waits for those that went first at these times and are not ready yet; 0: it goes now."""
    if len(begun) < cores:
        return 0.0
    return max(0.0, min(begun) + PATIENCE_S - now)
