"""What the folders of a home share: foreign errors translated, free space asked for, small files written whole."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hatchway.errors import StorageError

CHUNK_BYTES = 8 * 1024 * 1024
FICLONE = 0x40049409  # ioctl: share the blocks of another file, copy on write (Btrfs, XFS, bcachefs)
RESERVE_BYTES = 256 * 1024  # left free, so that the database can still write down what happened

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn every OSError into a StorageError that names `path` and the way out."""
    try:
        yield
    except OSError as exc:
        hint = "make it readable and writable, or point HATCHWAY_HOME at another folder"
        if exc.errno in _NO_SPACE:
            hint = "free disk space; `hatchway prune` removes what no API needs"
        raise StorageError(f"cannot use {path}: {exc.strerror or exc}", hint=hint) from exc


def require_free(folder: Path, size_bytes: int) -> None:
    """Raises StorageError when `folder`'s disk cannot take so much more."""
    free_bytes = shutil.disk_usage(folder).free - RESERVE_BYTES
    if size_bytes > free_bytes:
        raise StorageError(
            f"{folder} has {_in_mib(free_bytes)} free, {_in_mib(size_bytes)} are needed",
            hint="free disk space; `hatchway prune` removes what no API needs",
        )


def write_whole(path: Path, content: bytes) -> None:
    """Replace a small private file (0600) so that a reader sees the old content or the new, even after a crash."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disk_of(folder: Path) -> None:
    """Make everything written below `folder` survive a power cut: one flush, not one for each of a thousand files."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def clone(source: int, target: int) -> bool:
    """Make the empty file `target` share the blocks of `source`; False where the disk cannot."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as exc:
        if exc.errno in _NO_SPACE:
            raise
        return False  # another disk, or one that cannot: EXDEV, EOPNOTSUPP, ENOTTY, EINVAL, ...
    return True


def _in_mib(size_bytes: int) -> str:
    return f"{max(size_bytes, 0) / 2**20:,.1f} MiB"
