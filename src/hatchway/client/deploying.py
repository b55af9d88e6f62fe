"""A deploy, step by step: what is read here and what is sent, without sending anything."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from hatchway.client.calls import LONG_TIMEOUT_S, Call, many
from hatchway.client.progress import Hashing, OnProgress, Uploading
from hatchway.errors import Conflict, HatchwayError, NotFound
from hatchway.project import Cache, Project, collect, git_commit, interpreter, load_project
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.load import check_files
from hatchway.spec.revision import Source
from hatchway.spec.status import DeployResult

MAX_BATCH, MAX_BATCH_BYTES = 500, 64 * 1024 * 1024  # of files in one request, so that none takes long
MAX_REPEATS = 2  # of a deploy whose files were pruned between their upload and it


@dataclass(frozen=True)
class Deploy:
    paths: Sequence[str | Path]
    names: Sequence[str] | None
    dry_run: bool
    force: bool
    environ: Mapping[str, str]
    cache_file: Path
    on_progress: OnProgress

    def steps(self) -> Generator[Call[Any], Any, list[DeployResult]]:
        """Yields what is to be sent, is given the answers and thrown the errors, returns the results."""
        documents: list[ApiDocument] = []
        contents: dict[str, Path] = {}
        for path in self.paths or (".",):
            project = load_project(Path(path), self.environ)
            found, paths = self._documents(project)
            documents += found
            contents |= paths
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
            named = {sha256: quote_from_bytes(os.fsencode(path.resolve())) for sha256, (path, _) in batch.items()}
            yield Call("POST", "/v1/blobs", lambda _: None, json={"paths": named}, timeout_s=LONG_TIMEOUT_S)
        return bool(missing)

    def _documents(self, project: Project) -> tuple[list[ApiDocument], Mapping[str, Path]]:
        wanted = [api for api in project.apis if self.names is None or api.spec.name in self.names]
        if not wanted:
            return [], {}
        with Cache(self.cache_file) as cache:
            tree = collect(
                project.root,
                leave_out=project.root / project.file.name,
                cache=cache,
                on_progress=lambda done, total: self.on_progress(Hashing(done, total)),
            )
            names = {file.path for file in tree.files}
            commit = git_commit(project.root)
            found = []
            for api in wanted:
                check_files(api, names)
                handler = api.spec.handler
                python = interpreter(
                    handler.python,
                    self.environ,
                    root=project.root,
                    with_packages=handler.dependencies.pip is None,
                    cache=cache,
                )
                source = Source(files=tree.files, interpreter=python, git_commit=commit)
                found.append(
                    ApiDocument(document=api.document, variables=api.variables, source=source, location=api.location)
                )
        return found, tree.paths

    def _check_names(self, documents: Sequence[ApiDocument]) -> None:
        known = {str(document.document.get("name")) for document in documents}
        for name in self.names or ():
            if name not in known:
                raise NotFound(f"no API named {name} in {', '.join(map(str, self.paths or ('.',)))}")


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
