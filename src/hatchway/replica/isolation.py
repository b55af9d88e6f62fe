"""Takes our modules and packages out of the user's sight once they are imported.

A replica shares its process with the user's model. httptools, uvloop and orjson are imported from a folder of ours;
then their names, and all of `hatchway`, leave `sys.modules`, so that the user's own versions load beside ours.

One case needs help: when the user's copy is the same file as ours (the same folder, or a hard link, which is how
uv installs), the compiled module is already loaded and refuses to be initialised twice. `SameFileFinder` then hands
out the one that is loaded.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from types import ModuleType

OUR_PACKAGES = ("hatchway", "httptools", "orjson", "uvloop")
COMPILED_PACKAGES = ("httptools", "orjson", "uvloop")


_hidden: dict[str, ModuleType] = {}


def ours(name: str) -> ModuleType:
    """A module of ours that only some replicas import: before `hide`, since nothing finds it afterwards."""
    return _hidden.get(name) or importlib.import_module(name)


def hide(server_packages: str) -> None:
    """Remove our modules from sys.modules and `server_packages` from sys.path."""
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OUR_PACKAGES}
    for name in found:
        del sys.modules[name]
    _hidden.update(found)
    while server_packages in sys.path:
        sys.path.remove(server_packages)
    sys.path_importer_cache.pop(server_packages, None)
    sys.meta_path.insert(0, SameFileFinder(found))


class SameFileFinder(MetaPathFinder):
    """Gives the user our loaded copy of a compiled package if theirs is the very same file; else stays out."""

    def __init__(self, ours: Mapping[str, ModuleType]) -> None:
        self._ours = ours

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in COMPILED_PACKAGES or fullname not in self._ours:
            return None
        theirs = PathFinder.find_spec(fullname, path, target)
        if theirs is None or not theirs.origin or not self._is_same(fullname, os.path.dirname(theirs.origin)):
            return None
        members = {name: module for name, module in self._ours.items() if name.startswith(fullname + ".")}
        sys.modules.update(members)
        return spec_from_loader(fullname, _LoadedModule(self._ours[fullname]), origin=theirs.origin, is_package=True)

    def _is_same(self, package: str, their_folder: str) -> bool:
        our_folder = os.path.dirname(str(self._ours[package].__file__))
        for name, module in self._ours.items():
            file = getattr(module, "__file__", None)
            if name.partition(".")[0] == package and file and file.endswith(tuple(EXTENSION_SUFFIXES)):
                twin = os.path.join(their_folder, os.path.relpath(file, our_folder))
                if os.path.exists(twin) and os.path.samefile(file, twin):
                    return True
        return False


class _LoadedModule(Loader):
    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """It ran when we imported it."""
