"""A project on disk as workloads: its files are served where they are, not from a frozen copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.backends import Workload
from hatchway.errors import NotFound
from hatchway.project import Cache, build_variables, check_dependencies, interpreter, list_files, load_project
from hatchway.spec.load import check_files

REVISION = "dev"


@dataclass(frozen=True)
class Target:
    """What to serve: the YAML at `path`, or that of the folder at `path`; of its APIs those in `names` (None: all)."""

    path: Path
    names: tuple[str, ...] | None = None

    @property
    def folder(self) -> Path:
        """The project's folder; everything below it may matter."""
        return (self.path if self.path.is_dir() else self.path.parent).resolve()


def read_apis(
    target: Target, environ: Mapping[str, str], cache_file: Path, on_download: Callable[[str], None]
) -> list[Workload]:
    """The same reading and the same errors as a deploy's: InvalidSpec, NotFound. `on_download`: of a Python."""
    project = load_project(target.path, environ)
    _check_names(target, {api.spec.name for api in project.apis})
    wanted = [api for api in project.apis if target.names is None or api.spec.name in target.names]
    files = list_files(project.root, leave_out=project.root / project.file.name)
    workloads = []
    with Cache(cache_file) as cache:
        for api in wanted:
            check_files(api, files)
            handler = api.spec.handler
            check_dependencies(project.root, handler.dependencies)
            python = interpreter(
                handler.python,
                environ,
                root=project.root,
                with_packages=False,
                cache=cache,
                on_download=on_download,
            )
            indexes = build_variables(project.root, handler.dependencies, environ)
            workloads.append(Workload(api.spec.name, REVISION, api.spec, project.root, python, handler.env, indexes))
    return workloads


def _check_names(target: Target, known: Collection[str]) -> None:
    for name in target.names or ():
        if name not in known:
            raise NotFound(f"no API named {name} in {target.path}; there is: {', '.join(sorted(known))}")
