"""A function or class and all that it uses, written down as the handler.py of a project.

What it uses becomes, in this order: an import, for modules and what is in them; the source, for what the script or
notebook defines itself; a literal, for plain values; a model's file; a NumPy file; a pickle, for everything else that
has nothing of the notebook in it. The rest is refused by name, with what to do.
"""

from __future__ import annotations

import ast
import io
import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from hatchway.errors import UsageError
from hatchway.interactive.local_modules import copy_local, is_local
from hatchway.interactive.models import format_of
from hatchway.interactive.payloads import Entrance, entrance
from hatchway.interactive.sources import Definition, Source, describe, source_of, surroundings

HANDLER_FILE = "handler.py"
MAX_LITERAL_CHARS = 2000
_TITLE = '"""Made by hatchway.deploy() of what a script or notebook defines, and of what that uses."""\n'


def write_handler(target: Definition, folder: Path) -> dict[str, Any]:
    """Write handler.py, and the files it reads, into `folder`. Returns the fields of `handler` that name it.

    Raises UsageError for what cannot be taken along.
    """
    writer = _Writer(folder)
    name = writer.define(target.__name__, target)
    way_in = entrance(target, name)
    writer.add(way_in)
    (folder / HANDLER_FILE).write_text(writer.text())
    kind = "class" if isinstance(target, type) else "function"
    return {"path": HANDLER_FILE, kind: way_in.name}


@dataclass
class _Writer:
    folder: Path
    _imports: set[str] = field(default_factory=set)
    _values: list[str] = field(default_factory=list)
    _definitions: list[str] = field(default_factory=list)
    _names: dict[str, object] = field(default_factory=dict)  # what each name in handler.py stands for
    _is_future: bool = False

    def text(self) -> str:
        future = "from __future__ import annotations\n" if self._is_future else ""
        imports = "".join(f"{line}\n" for line in sorted(self._imports))
        head = [part for part in (_TITLE, future, imports, "".join(self._values)) if part]
        return "\n".join(head) + "\n\n" + "\n\n".join(self._definitions)

    def add(self, way_in: Entrance) -> None:
        self._imports |= set(way_in.imports)
        if way_in.text:
            self._definitions.append(way_in.text)

    def define(self, name: str, value: Any, source: Source | None = None) -> str:
        """Have `name` mean `value` in handler.py. Returns the name that its definition has there."""
        if name in self._names:
            if self._names[name] is not value:
                raise UsageError(
                    f"two things of the name {name} would meet in one file", hint="rename one of them in its module"
                )
            return name
        self._names[name] = value
        if isinstance(value, ModuleType):
            self._import_module(name, value, source)
        elif self._is_importable(value):
            self._import_from(name, value)
        elif isinstance(value, FunctionType | type):
            return self._copy(name, value)
        else:
            self._keep(name, value)
        return name

    def _import_module(self, name: str, module: ModuleType, source: Source | None) -> None:
        full = module.__name__
        self._take(full)
        self._imports.add(f"import {full}" if full == name else f"import {full} as {name}")
        for dotted in source.attributes if source else ():
            inner = full + dotted.removeprefix(name)
            if dotted.startswith(f"{name}.") and isinstance(sys.modules.get(inner), ModuleType):
                self._take(inner)
                self._imports.add(f"import {inner}")

    def _is_importable(self, value: Any) -> bool:
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or "." in name:
            return False
        home = sys.modules.get(module)
        has_file = home is not None and (getattr(home, "__spec__", None) is not None)
        return has_file and getattr(home, name, None) is value

    def _import_from(self, name: str, value: Any) -> None:
        module, inner = value.__module__, value.__qualname__
        self._take(module)
        if module != "builtins" or name != inner:
            self._imports.add(f"from {module} import {inner}" + ("" if inner == name else f" as {name}"))

    def _take(self, module: str) -> None:
        if is_local(module):
            copy_local(module, self.folder)

    def _copy(self, name: str, target: Definition) -> str:
        source = source_of(target)
        self._is_future |= source.has_future_annotations
        around = surroundings(target)
        own = target.__name__
        self._names.setdefault(own, target)
        for used in source.names:
            if used in around and used != "annotations":
                self.define(used, around[used], source)
        self._definitions.append(source.text)
        if own != name:
            self._definitions.append(f"{name} = {own}\n")
        return name

    def _keep(self, name: str, value: Any) -> None:
        literal = _literal(value)
        if literal is not None:
            self._values.append(f"{name} = {literal}\n")
            return
        form = format_of(value)
        if form is not None:
            file = name + form.suffix
            form.save(value, self.folder / file, None)
            self._imports.add(form.imports)
            self._values.append(f"{name} = {form.load.format(path=file)}\n")
            return
        numpy = sys.modules.get("numpy")
        if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
            numpy.save(self.folder / f"{name}.npy", value)
            self._imports.add("import numpy")
            self._values.append(f"{name} = numpy.load({name + '.npy'!r})\n")
            return
        (self.folder / f"{name}.pkl").write_bytes(_pickled(name, value, self))
        self._imports |= {"import pathlib", "import pickle"}
        self._values.append(f"{name} = pickle.loads(pathlib.Path({name + '.pkl'!r}).read_bytes())\n")


def _literal(value: Any) -> str | None:
    try:
        text = repr(value)
        if len(text) > MAX_LITERAL_CHARS:
            return None
        back = ast.literal_eval(text)
    except Exception:  # noqa: BLE001 (whatever a repr of somebody else's raises)
        return None
    return text if type(back) is type(value) and back == value else None


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, writer: _Writer) -> None:
        super().__init__(file, protocol=5)
        self._writer = writer

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType):
            if value.__module__ == "__main__" or "<locals>" in value.__qualname__:
                raise UsageError(describe(value))
            self._writer._take(value.__module__)
        return NotImplemented


def _pickled(name: str, value: Any, writer: _Writer) -> bytes:
    file = io.BytesIO()
    what = f"{name}, of type {type(value).__name__}"
    try:
        _Pickler(file, writer).dump(value)
    except UsageError as exc:
        raise UsageError(
            f"{what}, cannot be taken along: it is made of {exc.message}, which this script or notebook defines",
            hint="move the definition into a module (a .py file beside it) and import it from there; or make the object"
            " in the __init__ of a class Handler",
        ) from exc
    except Exception as exc:
        raise UsageError(
            f"{what}, cannot be taken along: {type(exc).__name__}: {exc}",
            hint="make it where it is used: inside the function, or in the __init__ of a class Handler",
        ) from exc
    return file.getvalue()
