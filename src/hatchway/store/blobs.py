"""Users' files by the hash of their content: stored once, never changed, shared by all revisions.

A blob is `blobs/ab/abcdef...`, mode 0444. It appears by rename, whole or not at all.

A small one is hashed whenever it is copied, so that one which a power cut has damaged is found; a deploy flushes the
disk once for all of them before it is confirmed. A large one is flushed at once. It may be hard-linked into revisions,
and root can write through a read-only link: its size, mtime and ctime are kept in `abcdef....seen` and compared before
every reuse; where they differ, its content is hashed again and a wrong one dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import stat
import threading
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO, Protocol

from hatchway.errors import Conflict, UsageError
from hatchway.store.disk import CHUNK_BYTES, clone, require_free, storage_errors, sync_folder

LARGE_FILE_BYTES = 16 * 1024 * 1024  # files below are copied into a revision, larger ones share their blocks

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobStore(Protocol):
    """Blobs, wherever they are kept. `missing` and `prune` wait for a disk or a network: call them in a thread."""

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Those that must be uploaded, each once."""
        ...

    async def add_async_stream(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Raises Conflict when the content is not what its name says, StorageError when it cannot be kept."""
        ...

    def prune(self, keep: Collection[str]) -> int:
        """Remove others; returns the bytes freed."""
        ...


def require_sha256(sha256: str) -> None:
    """Raises UsageError for what is not a SHA-256 in lower case."""
    if not _SHA256.fullmatch(sha256):
        raise UsageError(f"{sha256[:80]!r} is not a SHA-256", hint="send 64 lower-case hexadecimal digits")


class Blobs:
    """The blobs of a home. Synchronous, safe to use from several threads of the one engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._lock = threading.RLock()
        with storage_errors(folder):
            # There is one engine per home: what lies here was left behind by one that was killed.
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- asking ------------------------------------------------------------------------------------------
    def path(self, sha256: str) -> Path:
        """Where a blob is, or would be. Raises UsageError for what is not a SHA-256 in lower case."""
        require_sha256(sha256)
        return self.folder / sha256[:2] / sha256

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Those that must be uploaded, each once. A damaged blob counts as missing, and is gone."""
        with storage_errors(self.folder):
            return [sha256 for sha256 in dict.fromkeys(hashes) if not self.is_intact(sha256)]

    def is_intact(self, sha256: str) -> bool:
        """Whether there is such a blob with the right content. A small one is only hashed when it is copied."""
        path = self.path(sha256)
        with self._lock:
            try:
                found = path.stat()
            except FileNotFoundError:
                return False
            if found.st_size < LARGE_FILE_BYTES or _seen(path) == _marks(found):
                return True
            with path.open("rb") as file:
                is_right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if is_right:
                _remember(path)
            else:
                self.drop(sha256)
            return is_right

    # --- adding ------------------------------------------------------------------------------------------
    def add_stream(self, sha256: str, chunks: Iterable[bytes]) -> None:
        """Raises Conflict when the content is not what its name says, StorageError when it cannot be kept."""
        with self._receiving(sha256) as file:
            digest = hashlib.sha256()
            for chunk in chunks:
                _take(file, digest, chunk)
            _expect(sha256, digest.hexdigest(), f"the upload of {sha256} was damaged or cut off")

    async def add_async_stream(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """As `add_stream`, for a body that arrives in the event loop; the disk is written in a thread."""
        with self._receiving(sha256) as file:
            digest = hashlib.sha256()
            async for chunk in chunks:
                await asyncio.to_thread(_take, file, digest, chunk)
            _expect(sha256, digest.hexdigest(), f"the upload of {sha256} was damaged or cut off")
            await asyncio.to_thread(_flush_large, file)  # the slow part; what is left in `_receiving` is a rename

    def add_path(self, sha256: str, source: Path) -> None:
        """Take a file of this machine without changing or linking it: later edits of it stay outside.

        Raises Conflict when its content is not `sha256` (any more), StorageError when it cannot be kept.
        """
        with _open_regular(source) as original, self._receiving(sha256) as file:
            require_free(self.folder, os.fstat(original.fileno()).st_size)
            if clone(original.fileno(), file.fileno()):
                found = hashlib.file_digest(file, "sha256").hexdigest()
            else:
                digest = hashlib.sha256()
                while chunk := original.read(CHUNK_BYTES):
                    _take(file, digest, chunk)
                found = digest.hexdigest()
            _expect(sha256, found, f"{source} changed while it was deployed")

    # --- using -------------------------------------------------------------------------------------------
    def place(self, sha256: str, target: Path, *, is_executable: bool) -> None:
        """Make the new file `target` with the blob's content, as cheaply as is safe.

        A large one carries the blob's mtime, shared or not. Raises Conflict when the blob is gone or damaged.
        """
        path = self.path(sha256)
        with storage_errors(target):
            if not self.is_intact(sha256):
                raise Conflict(f"blob {sha256} is missing or was damaged", hint="deploy the project again")
            if path.stat().st_size < LARGE_FILE_BYTES:
                self._copy_checked(sha256, target, 0o755 if is_executable else 0o644)
            else:
                self._share(path, target, is_executable=is_executable)

    def drop(self, sha256: str) -> int:
        """Remove one blob; revisions that link it keep theirs. Returns the bytes freed."""
        path = self.path(sha256)
        found = path.stat()
        path.unlink()
        _seen_path(path).unlink(missing_ok=True)
        return found.st_size if found.st_nlink == 1 else 0

    def prune(self, keep: Collection[str]) -> int:
        """Remove all blobs but those; returns the bytes freed."""
        freed_bytes = 0
        with self._lock, storage_errors(self.folder):
            for path in self._all():
                if path.name not in keep:
                    freed_bytes += self.drop(path.name)
        return freed_bytes

    @contextmanager
    def links_change(self, paths: Iterable[Path] | None = None) -> Iterator[None]:
        """Around making or removing hard links (to any blob, unless told which): they move ctime for a good reason."""
        with self._lock:
            known = {path: _seen(path) for path in (self._all() if paths is None else paths)}
            trusted = {path: seen for path, seen in known.items() if seen is not None and seen == _marks(path.stat())}
            try:
                yield
            finally:
                for path, seen in trusted.items():
                    if _marks(path.stat())[:2] == seen[:2]:  # size and mtime, which a link does not move
                        _remember(path)

    # --- inside ------------------------------------------------------------------------------------------
    @contextmanager
    def _receiving(self, sha256: str) -> Iterator[BufferedRandom]:
        """A temporary file that becomes the blob when the body ends well, and goes when it does not."""
        path, temporary = self.path(sha256), self._incoming / uuid.uuid4().hex
        with storage_errors(path):
            try:
                with temporary.open("x+b") as file:
                    yield file
                    _flush_large(file)
                    os.fchmod(file.fileno(), 0o444)
                self._adopt(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _adopt(self, temporary: Path, path: Path) -> None:
        with self._lock:
            if self.is_intact(path.name):
                return  # somebody was faster; revisions may link that one
            path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.rename(path)
            if path.stat().st_size >= LARGE_FILE_BYTES:
                _remember(path)
                sync_folder(path.parent)

    def _copy_checked(self, sha256: str, target: Path, mode: int) -> None:
        content = self.path(sha256).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            self.drop(sha256)
            raise Conflict(f"blob {sha256} was damaged", hint="deploy the project again")
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)

    def _share(self, path: Path, target: Path, *, is_executable: bool) -> None:
        with path.open("rb") as source, target.open("xb") as file:
            cloned = clone(source.fileno(), file.fileno())
            # A hard link has its blob's mode, so an executable file cannot be one.
            if not cloned and is_executable:
                require_free(target.parent, path.stat().st_size)
                shutil.copyfileobj(source, file, CHUNK_BYTES)
        if cloned or is_executable:
            found = path.stat()
            target.chmod(0o555 if is_executable else 0o444)
            os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
            return
        target.unlink()
        with self.links_change([path]):
            target.hardlink_to(path)

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("[0-9a-f][0-9a-f]/*") if _SHA256.fullmatch(path.name)]


def _open_regular(source: Path) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as exc:
        raise Conflict(f"cannot read {source}: {exc.strerror}", hint="deploy the project again") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Conflict(f"{source} is not a regular file", hint="deploy the project again")
    return open(descriptor, "rb", buffering=0)


def _take(file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
    digest.update(chunk)
    file.write(chunk)


def _flush_large(file: BinaryIO) -> None:
    """Each flush of a small file would wait for the disk: a project of 20,000 of them took minutes."""
    file.flush()
    if os.fstat(file.fileno()).st_size >= LARGE_FILE_BYTES:
        os.fsync(file.fileno())


def _expect(sha256: str, found: str, message: str) -> None:
    if found != sha256:
        raise Conflict(message, hint="deploy the project again")


def _marks(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _seen_path(path: Path) -> Path:
    return path.with_name(path.name + ".seen")


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        size, mtime_ns, ctime_ns = json.loads(_seen_path(path).read_bytes())
    except (FileNotFoundError, ValueError):  # ValueError: cut off by a crash; the blob is hashed again
        return None
    return (size, mtime_ns, ctime_ns)


def _remember(path: Path) -> None:
    found = path.stat()
    if found.st_size >= LARGE_FILE_BYTES:
        _seen_path(path).write_text(json.dumps(_marks(found)))
