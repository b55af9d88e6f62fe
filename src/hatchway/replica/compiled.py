"""Compiled modules that lie beside their sources, for a replica that keeps its own elsewhere.

With a PYTHONPYCACHEPREFIX Python looks for compiled modules there and nowhere else, as if nothing had been compiled
when it was installed: the first scikit-learn of a home took 3 s more. What is not there is read beside the source;
whether it is current is checked as ever, and what is compiled anew is written to the prefix.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)


def read_beside_sources() -> None:
    """From now on, for every import of this process; nothing where no prefix is set."""
    if sys.pycache_prefix is None:
        return
    hook = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (Loader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


class Loader(SourceFileLoader):
    """Python's own, which asks for the bytes of a compiled module by its path below the prefix."""

    def get_data(self, path: str) -> bytes:
        try:
            return super().get_data(path)
        except OSError:
            beside = place_beside(path, sys.pycache_prefix or "")
            if beside is None:
                raise
        return super().get_data(beside)


def place_beside(path: str, prefix: str) -> str | None:
    """`/prefix/usr/lib/json/decoder.cpython-311.pyc` -> `/usr/lib/json/__pycache__/decoder.cpython-311.pyc`."""
    root = prefix.rstrip(os.sep)
    if not root or not path.startswith(root + os.sep) or not path.endswith(".pyc"):
        return None
    folder, name = os.path.split(path[len(root) :])
    return os.path.join(folder, "__pycache__", name)
