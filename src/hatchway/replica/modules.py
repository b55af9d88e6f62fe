"""Which of the Python environment's modules a handler has imported, for the template its successors are forked from."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import cache
from typing import Any

_BEFORE = frozenset(sys.modules)  # what our own start has imported; a template's has, too


def imported() -> list[str]:
    """In the order of their imports; only those of the standard library and of installed packages.

    Modules of the project, and packages that are installed in development mode, change without a trace in the
    environment: each replica imports them anew.
    """
    roots = tuple(os.path.realpath(path) for path in _library_folders())
    real = cache(os.path.realpath)  # a thousand modules lie in a hundred folders
    found = []
    for name, module in [item for item in sys.modules.items() if item[0] not in _BEFORE]:
        spec: Any = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if isinstance(origin, str) and spec.name == name and real(os.path.dirname(origin)).startswith(roots):
            found.append(name)
    return found


def _library_folders() -> set[str]:
    paths = sysconfig.get_paths()
    return {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")} | set(site.getsitepackages())
