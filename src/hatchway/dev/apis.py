"""A project on disk as workloads: its files are served where they are, not from a frozen copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.local.secrets import SecretMissing, with_secrets
from hatchway.client.model_checks import MayTrust, ModelChecks
from hatchway.client.progress import DownloadingPython, ProgressEvent
from hatchway.errors import InvalidSpec, NotFound
from hatchway.project import (
    Cache,
    Project,
    Trust,
    build_variables,
    check_dependencies,
    interpreter,
    list_files,
    list_only,
    load_project,
)
from hatchway.project.models import is_model
from hatchway.project.trust import TRUST_FILE
from hatchway.spec.load import LoadedApi, check_files

REVISION = "dev"


@dataclass(frozen=True)
class Target:
    """What to serve: the YAML at `path`, or that of the folder at `path`, or the model there; of the APIs of a YAML
    those in `names` (None: all). `name` is the API's that serves a model (None: as its file is named)."""

    path: Path
    names: tuple[str, ...] | None = None
    name: str | None = None

    @property
    def model(self) -> Path | None:
        """The model's file or folder, where that is all there is. Raises UsageError for what is neither."""
        return self.path.expanduser().absolute() if is_model(self.path.expanduser()) else None

    @property
    def watched(self) -> Path:
        """Where a save counts."""
        return self.model or self.folder

    @property
    def folder(self) -> Path:
        """The folder of a YAML; everything below it may matter."""
        path = self.path.expanduser()
        return (path if path.is_dir() else path.parent).resolve()


@dataclass(frozen=True)
class Reader:
    """Reads a project the way a deploy does, with the same errors. `cache_file` is the home's; trust and secrets are
    beside it."""

    target: Target
    environ: Mapping[str, str]
    cache_file: Path
    on_progress: Callable[[ProgressEvent], None]

    def read(self, may_trust: MayTrust) -> list[Workload]:
        """Raises InvalidSpec, NotFound, UsageError, ModelFileError. `may_trust` is asked about unknown models."""
        project = load_project(self.target.path, self.environ, self.target.name)
        _check_names(self.target, {api.spec.name for api in project.apis})
        wanted = [api for api in project.apis if self.target.names is None or api.spec.name in self.target.names]
        files = _files_of(project)
        trust = Trust(self.cache_file.with_name(TRUST_FILE))
        checks = ModelChecks(trust, may_trust, self.on_progress, command="hatchway dev")
        with Cache(self.cache_file) as cache:
            for api in wanted:
                check_files(api, files)
            return [self._workload(project, api, checks, cache) for api in wanted]

    def _workload(self, project: Project, api: LoadedApi, checks: ModelChecks, cache: Cache) -> Workload:
        handler = api.spec.handler
        check_dependencies(project.root, handler.dependencies)
        python = interpreter(
            handler.python,
            self.environ,
            root=project.root,
            with_packages=handler.model is not None and handler.dependencies.file is None,
            cache=cache,
            on_download=lambda version: self.on_progress(DownloadingPython(version)),
        )
        workload = Workload(
            api.spec.name,
            REVISION,
            api.spec,
            project.root,
            python,
            env=handler.env,
            build_env={**build_variables(project.root, handler.dependencies, self.environ), **api.variables},
            trusted_models=checks.trusted(api, project.root, python),
        )
        try:
            return with_secrets(workload, self.cache_file.with_name("secrets"))
        except SecretMissing as exc:
            raise InvalidSpec(str(exc)) from exc


def _files_of(project: Project) -> frozenset[str]:
    if project.only:
        return list_only(project.root, project.only)
    return list_files(project.root, leave_out=project.root / project.file.name)


def _check_names(target: Target, known: Collection[str]) -> None:
    for name in target.names or ():
        if name not in known:
            raise NotFound(f"no API named {name} in {target.path}; there is: {', '.join(sorted(known))}")
