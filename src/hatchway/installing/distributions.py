"""Packages of the Python that runs this, and copies of them for a Python that shall not see the rest."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

SERVER_PACKAGES = ("httptools", "uvloop", "orjson")
# What fills gaps in the user's environment: uvicorn, starlette, wsproto and what they import (of these, what the
# engine's Python has), and what raises thread pools after a fork.
ASGI_PACKAGES = (
    "threadpoolctl",
    "uvicorn",
    "starlette",
    "python-multipart",
    "wsproto",
    "h11",
    "click",
    "anyio",
    "idna",
    "sniffio",
    "typing_extensions",
)


def own_abi() -> str:
    """The ABI of the Python that runs this, as `Python.abi` spells it."""
    return f"{sys.implementation.cache_tag}{sys.abiflags}-{platform.machine()}"


def copy_distributions(names: Sequence[str], target: Path) -> None:
    """Copy installed distributions, metadata included, scripts and compiled caches not."""
    for name in names:
        found = distribution(name)
        for file in found.files or ():
            if file.parts[0] == ".." or "__pycache__" in file.parts:
                continue
            to = target / Path(*file.parts)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), to)


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
