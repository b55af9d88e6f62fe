"""Revision trees: a project's files laid out from their blobs, in `revisions/API/REVISION`.

A tree is built beside its place and renamed into it, so what exists is whole. It shares nothing with the user's
own files. The manifest comes from a client: paths that leave the tree are refused before anything is written.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from hatchway.errors import Conflict, InvalidSpec
from hatchway.spec.revision import ProjectFile
from hatchway.store.blobs import LARGE_FILE_BYTES, Blobs
from hatchway.store.disk import require_free, storage_errors, sync_disk_of, sync_folder

MAX_PATH_BYTES = 2048
MAX_NAME_BYTES = 255
PROBLEMS_SHOWN = 20


class Trees:
    """The trees of a home. Synchronous; different revisions may be built at once from several threads."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self.folder = folder
        self._blobs = blobs
        self._building = folder / ".building"
        with storage_errors(folder):
            # There is one engine per home: what lies here was left behind by one that was killed.
            _remove(self._building)
            self._building.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, api: str, revision: str) -> Path:
        """Where a revision's tree is, or would be."""
        for name in (api, revision):
            if not name or name.startswith(".") or "/" in name:
                raise InvalidSpec(f"{name!r} cannot be the name of a folder")
        return self.folder / api / revision

    def materialise(self, api: str, revision: str, files: Sequence[ProjectFile]) -> Path:
        """The revision's folder, built when it is not there. Safe to repeat.

        Raises InvalidSpec for a manifest that is not well-formed, Conflict when a blob is missing or damaged,
        StorageError when the disk is full.
        """
        check_manifest(files)
        target = self.path(api, revision)
        with storage_errors(target):
            if target.is_dir():
                self._mend(target, files)
            else:
                self._build(target, files)
        return target

    def remove_revision(self, api: str, revision: str) -> None:
        """Remove one tree, or nothing when there is none. Blobs stay."""
        target = self.path(api, revision)
        with storage_errors(target), self._blobs.links_change():
            _remove(target)
            _remove_if_empty(target.parent)

    def remove(self, api: str) -> None:
        """Remove all trees of an API. Blobs stay."""
        target = self.path(api, "all").parent
        with storage_errors(target), self._blobs.links_change():
            _remove(target)

    def prune(self, keep: Collection[tuple[str, str]]) -> int:
        """Remove all trees but those of `keep`, pairs of API and revision. Returns the bytes freed.

        Large files that a blob shares are freed by `Blobs.prune`, and counted there.
        """
        freed_bytes = 0
        with storage_errors(self.folder):
            for tree in [path for path in self.folder.glob("[!.]*/*") if path.is_dir()]:
                api, revision = tree.parent.name, tree.name
                if (api, revision) not in keep:
                    freed_bytes += _own_bytes(tree)
                    self.remove_revision(api, revision)
        return freed_bytes

    def _build(self, target: Path, files: Sequence[ProjectFile]) -> None:
        missing = set(self._blobs.missing(file.sha256 for file in files))
        if missing:
            names = ", ".join([file.path for file in files if file.sha256 in missing][:PROBLEMS_SHOWN])
            raise Conflict(f"files of the project were not uploaded: {names}", hint="deploy the project again")
        require_free(self.folder, sum(file.size for file in files if file.size < LARGE_FILE_BYTES))
        building = self._building / uuid.uuid4().hex
        try:
            building.mkdir()
            for file in files:
                place = building / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                self._place(file, place)
            sync_disk_of(building)
            target.parent.mkdir(exist_ok=True)
            try:
                building.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                return  # somebody was faster: the same revision has the same files
            sync_folder(target.parent)
        finally:
            with self._blobs.links_change():
                _remove(building)

    def _place(self, file: ProjectFile, place: Path) -> None:
        self._blobs.place(file.sha256, place, is_executable=_is_executable(file))
        if place.stat().st_size != file.size:
            raise Conflict(f"{file.path} is not {file.size} bytes long", hint="deploy the project again")

    def _mend(self, target: Path, files: Iterable[ProjectFile]) -> None:
        """Replace large files that were written to since, through this tree or through another link."""
        for file in files:
            place = target / file.path
            if file.size < LARGE_FILE_BYTES or (self._blobs.is_intact(file.sha256) and self._is_same(file, place)):
                continue
            fresh = self._building / uuid.uuid4().hex
            self._place(file, fresh)
            with self._blobs.links_change():
                fresh.replace(place)

    def _is_same(self, file: ProjectFile, place: Path) -> bool:
        """Whether it is the blob itself, or a copy with the blob's mtime, as `Blobs.place` makes it."""
        found, blob = place.stat(), self._blobs.path(file.sha256).stat()
        return os.path.samestat(found, blob) or (found.st_size, found.st_mtime_ns) == (blob.st_size, blob.st_mtime_ns)


class NoTrees:
    """Where projects are laid out in pods, from their blobs, and not here. A path is a name for what is not there."""

    def path(self, api: str, revision: str) -> Path:
        return Path(api) / revision

    def materialise(self, api: str, revision: str, files: Sequence[ProjectFile]) -> Path:
        """Raises InvalidSpec for a manifest that is not well-formed."""
        check_manifest(files)
        return self.path(api, revision)

    def remove(self, api: str) -> None:
        pass

    def prune(self, keep: Collection[tuple[str, str]]) -> int:
        return 0


def check_manifest(files: Sequence[ProjectFile]) -> None:
    """Raises InvalidSpec with one problem per file that would not lie, alone, inside its tree."""
    taken = {file.path for file in files}
    folders = {str(parent) for path in taken for parent in PurePosixPath(path).parents}
    problems = []
    seen: set[str] = set()
    for file in files:
        complaint = _complaint(file)
        if complaint is None and file.path in seen:
            complaint = "is listed twice"
        if complaint is None and file.path in folders:
            complaint = "is a file and a folder"
        if complaint is not None:
            problems.append(f"{file.path[:200]!r} {complaint}")
        seen.add(file.path)
    if problems:
        raise InvalidSpec("the list of files is not acceptable", problems=tuple(problems[:PROBLEMS_SHOWN]))


def _complaint(file: ProjectFile) -> str | None:
    parts = file.path.split("/")
    if file.path.startswith("/"):
        return "is absolute"
    if ".." in parts:
        return "leaves the project"
    if "" in parts or "." in parts or "\0" in file.path:
        return "is not a normal relative path"
    if len(file.path.encode()) > MAX_PATH_BYTES or max(len(part.encode()) for part in parts) > MAX_NAME_BYTES:
        return "is too long"
    if file.size < 0:
        return "has a negative size"
    return None


def _is_executable(file: ProjectFile) -> bool:
    return file.mode & 0o111 != 0


def _own_bytes(tree: Path) -> int:
    found = [path.lstat() for path in tree.rglob("*") if not path.is_dir()]
    return sum(one.st_size for one in found if one.st_nlink == 1)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
