"""Thread pools of numeric libraries in a forked replica.

Its template imported them with one thread, or they would have started more, and a process with threads cannot be
forked. OpenMP's number is that of each thread, so it has to be raised in every one that runs a handler.
"""

from __future__ import annotations

import importlib
import traceback
from typing import Any


def raise_to(n_threads: int) -> None:
    """Let the libraries that are loaded use so many threads, from the thread that calls this.

    Where that fails it is logged, and they keep the one they have.
    """
    try:
        threadpoolctl: Any = importlib.import_module("threadpoolctl")  # the user's, else ours
        threadpoolctl.threadpool_limits(n_threads)
    except Exception:  # noqa: BLE001 (whatever the user's copy raises: the thread has a handler to run)
        traceback.print_exc()
