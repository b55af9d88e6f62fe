"""A deploy, step by step: what is read here and what is sent, without sending anything."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from hatchway.client.calls import LONG_TIMEOUT_S, Call, Content, many
from hatchway.client.model_checks import MayTrust, ModelChecks
from hatchway.client.progress import DownloadingPython, Hashing, LocalPackages, OnProgress, Uploading
from hatchway.errors import Conflict, HatchwayError, NotFound, UsageError
from hatchway.installing.indexes import elsewhere, index_variables
from hatchway.project import (
    Cache,
    Collected,
    Project,
    Trust,
    build_variables,
    check_dependencies,
    collect,
    collect_only,
    git_commit,
    interpreter,
    load_project,
    lock_dependencies,
)
from hatchway.project.trust import TRUST_FILE
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.load import LoadedApi, check_files
from hatchway.spec.revision import Source
from hatchway.spec.status import DeployResult

MAX_BATCH, MAX_BATCH_BYTES = 500, 64 * 1024 * 1024  # of files in one request, so that none takes long
CHUNK_BYTES = 1024 * 1024
MAX_REPEATS = 2  # of a deploy whose files were pruned between their upload and it


@dataclass(frozen=True)
class Deploy:
    paths: Sequence[str | Path | Project]
    names: Sequence[str] | None
    name: str | None  # of the API that serves the one model among `paths`
    may_trust: MayTrust
    dry_run: bool
    force: bool
    environ: Mapping[str, str]
    cache_file: Path
    on_progress: OnProgress
    accepts_paths: bool = True  # whether the files are read where they are, or must be sent

    def steps(self) -> Generator[Call[Any], Any, list[DeployResult]]:
        """Yields what is to be sent, is given the answers and thrown the errors, returns the results."""
        documents: list[ApiDocument] = []
        contents: dict[str, Path] = {}
        paths = self.paths or (".",)
        if self.name is not None and len(paths) > 1:
            raise UsageError("one name cannot be that of several APIs", hint="deploy the models one after the other")
        for path in paths:
            project = path if isinstance(path, Project) else load_project(Path(path), self.environ, self.name)
            found, files = self._documents(project)
            documents += found
            contents |= files
        self._check_names(documents)
        request = DeployRequest(apis=tuple(documents), dry_run=self.dry_run, force=self.force)
        deploy = Call(
            "POST", "/v1/deploy", many(DeployResult), json=request.model_dump(mode="json"), timeout_s=LONG_TIMEOUT_S
        )
        if self.dry_run:
            return list((yield deploy))
        yield from self._upload(contents)
        for _ in range(MAX_REPEATS):
            try:
                return list((yield deploy))
            except Conflict:
                # A prune may have taken the files before anything needed them; else the conflict is another one.
                if not (yield from self._upload(contents)):
                    raise
        return list((yield deploy))

    def _upload(self, contents: Mapping[str, Path]) -> Generator[Call[Any], Any, bool]:
        """Send what the engine has not. Returns whether there was anything."""
        missing = yield Call(
            "POST", "/v1/blobs/missing", lambda body: json.loads(body)["missing"], json={"hashes": sorted(contents)}
        )
        for batch in _batches([(sha256, contents[sha256]) for sha256 in missing]):
            for path, size_bytes in batch.values():
                self.on_progress(Uploading(path.name, size_bytes))
            if self.accepts_paths:
                named = {sha256: quote_from_bytes(os.fsencode(path.resolve())) for sha256, (path, _) in batch.items()}
                yield Call("POST", "/v1/blobs", lambda _: None, json={"paths": named}, timeout_s=LONG_TIMEOUT_S)
            else:
                yield Call(
                    "POST", "/v1/blobs/contents", lambda _: None, content=in_one(batch), timeout_s=LONG_TIMEOUT_S
                )
        return bool(missing)

    def _documents(self, project: Project) -> tuple[list[ApiDocument], Mapping[str, Path]]:
        wanted = [api for api in project.apis if self.names is None or api.spec.name in self.names]
        if not wanted:
            return [], {}
        trust = Trust(self.cache_file.with_name(TRUST_FILE))
        checks = ModelChecks(trust, self.may_trust, self.on_progress)
        with Cache(self.cache_file) as cache:
            tree = self._tree(project, cache)
            names = {file.path for file in tree.files}
            commit = git_commit(project.root)
            found = []
            for api in wanted:
                check_files(api, names)
                handler = api.spec.handler
                check_dependencies(project.root, handler.dependencies)
                python = interpreter(
                    handler.python or project.python,
                    self.environ,
                    root=project.root,
                    with_packages=handler.dependencies.file is None,
                    cache=cache,
                    on_download=lambda version: self.on_progress(DownloadingPython(version)),
                )
                if python.local:
                    self.on_progress(LocalPackages(api.spec.name, python.local))
                trusted = checks.trusted(api, project.root, python)
                source = Source(files=tree.files, interpreter=python, git_commit=commit, trusted_models=trusted)
                variables = {**build_variables(project.root, handler.dependencies, self.environ), **api.variables}
                if not self.accepts_paths:
                    lock = lock_dependencies(project.root, handler.dependencies, python, self.environ, cache)
                    source = source.model_copy(update={"lock": lock})
                    variables = self._variables_elsewhere(api, variables)
                found.append(
                    ApiDocument(document=api.document, variables=variables, source=source, location=api.location)
                )
        return found, tree.paths

    def _variables_elsewhere(self, api: LoadedApi, variables: Mapping[str, str]) -> dict[str, str]:
        """What another machine needs to install packages, also those of this environment; secrets are kept there."""
        needed = elsewhere({**index_variables(self.environ), **variables})
        return {name: value for name, value in needed.items() if name not in api.spec.handler.secrets}

    def _tree(self, project: Project, cache: Cache) -> Collected:
        def on_progress(done: int, total: int) -> None:
            self.on_progress(Hashing(done, total))

        if project.only:
            return collect_only(project.root, project.only, cache=cache, on_progress=on_progress)
        yaml = project.root / project.file.name
        return collect(project.root, leave_out=yaml, cache=cache, on_progress=on_progress)

    def _check_names(self, documents: Sequence[ApiDocument]) -> None:
        known: dict[str, ApiDocument] = {}
        for document in documents:
            name = str(document.document.get("name"))
            if name in known:
                raise UsageError(
                    f"{known[name].location} and {document.location} are both named {name}",
                    hint="deploy models of one file name one after the other, each with a --name of its own",
                )
            known[name] = document
        for name in self.names or ():
            if name not in known:
                where = ", ".join(
                    str(path.file if isinstance(path, Project) else path) for path in self.paths or (".",)
                )
                raise NotFound(f"no API named {name} in {where}")


def in_one(batch: Mapping[str, tuple[Path, int]]) -> Content:
    """Files as one body: before each a line with its SHA-256 and its size. Raises Conflict when one has changed."""
    heads = {sha256: f"{sha256} {size_bytes}\n".encode() for sha256, (_, size_bytes) in batch.items()}

    def chunks() -> Iterator[bytes]:
        for sha256, (path, size_bytes) in batch.items():
            yield heads[sha256]
            left = size_bytes
            with path.open("rb") as file:
                while chunk := file.read(min(CHUNK_BYTES, left)):
                    left -= len(chunk)
                    yield chunk
            if left:
                raise Conflict(f"{path} changed while it was sent", hint="deploy again")

    total_bytes = sum(map(len, heads.values())) + sum(size_bytes for _, size_bytes in batch.values())
    return Content(total_bytes, chunks)


def _batches(files: Sequence[tuple[str, Path]]) -> Iterator[dict[str, tuple[Path, int]]]:
    """SHA-256 -> (path, size in bytes), for each request: many small files, or one that is large."""
    batch: dict[str, tuple[Path, int]] = {}
    total_bytes = 0
    for sha256, path in files:
        size_bytes = path.stat().st_size
        if batch and (len(batch) == MAX_BATCH or total_bytes + size_bytes > MAX_BATCH_BYTES):
            yield batch
            batch, total_bytes = {}, 0
        batch[sha256] = path, size_bytes
        total_bytes += size_bytes
    if batch:
        yield batch


def advance(steps: Generator[Call[Any], Any, list[DeployResult]], answer: object) -> Call[Any] | Sequence[DeployResult]:
    """The next call, or the results at the end: a StopIteration cannot leave a thread. `answer` may be an error."""
    try:
        return steps.throw(answer) if isinstance(answer, HatchwayError) else steps.send(answer)
    except StopIteration as end:
        return list(end.value)
