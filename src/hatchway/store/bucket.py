"""Users' files by the hash of their content, where several operators reach them: in a bucket, or on a shared volume.

A blob is the object `ab/abcdef...`, as on the disk of one machine. It appears whole or not at all: its last bytes are
only handed over once its hash is known to be right. Damage is found by whoever reads it, since its name is its hash.

    s3://BUCKET/PREFIX   anything that speaks S3; address and keys from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...
    /PATH, file:///PATH  a volume that every operator mounts
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import LocalStore, ObjectStore, S3Store

from hatchway.errors import Conflict, NotFound, StorageError, UsageError
from hatchway.store.blobs import require_sha256

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

LOOKS_AT_ONCE = 16
CHUNK_BYTES = 8 * 1024 * 1024
UNCLAIMED_S = 24 * 3600.0  # a blob this young may be of a deploy that is still being uploaded


@dataclass(frozen=True)
class Content:
    size_bytes: int
    chunks: AsyncIterator[bytes]


class Bucket:
    """`missing` and `prune` wait for the network: call them in a thread. All methods may raise StorageError."""

    def __init__(self, store: ObjectStore, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall_clock = wall_clock

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Those that must be uploaded, each once."""
        wanted = list(dict.fromkeys(hashes))
        with _translated(), ThreadPoolExecutor(LOOKS_AT_ONCE) as threads:
            return [sha256 for sha256, has in zip(wanted, threads.map(self._has, wanted), strict=True) if not has]

    async def add_async_stream(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Raises Conflict when the content is not what its name says."""
        with _translated():
            await obstore.put_async(self._store, _key(sha256), _checked(sha256, chunks), chunk_size=CHUNK_BYTES)

    async def read(self, sha256: str, start: int = 0) -> Content:
        """From byte `start` on, which is not the last. Raises NotFound."""
        with _translated():
            try:
                options: GetOptions = {"range": {"offset": start}} if start else {}
                found = await obstore.get_async(self._store, _key(sha256), options=options)
            except FileNotFoundError:
                raise NotFound(f"there is no blob {sha256}", hint="deploy the project again") from None
            return Content(found.meta["size"], _bytes(found.stream(CHUNK_BYTES)))

    def prune(self, keep: Collection[str]) -> int:
        """Remove all others, but for those of the last day; returns the bytes freed."""
        freed_bytes = 0
        with _translated():
            for page in obstore.list(self._store):
                unneeded = [each for each in page if self._is_unneeded(each, keep)]
                obstore.delete(self._store, [each["path"] for each in unneeded])
                freed_bytes += sum(each["size"] for each in unneeded)
        return freed_bytes

    def _is_unneeded(self, found: ObjectMeta, keep: Collection[str]) -> bool:
        sha256 = found["path"].rpartition("/")[2]
        is_blob = found["path"] == f"{sha256[:2]}/{sha256}"
        return is_blob and sha256 not in keep and self._wall_clock() - found["last_modified"].timestamp() > UNCLAIMED_S

    def _has(self, sha256: str) -> bool:
        try:
            obstore.head(self._store, _key(sha256))
        except FileNotFoundError:
            return False
        return True


def open_bucket(url: str) -> Bucket:
    """Raises UsageError for an address that names neither."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file") and parts.path.startswith("/"):
        return Bucket(LocalStore(Path(parts.path), mkdir=True))
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(S3Store(parts.netloc, prefix=parts.path.strip("/") or None))
    raise UsageError(f"{url!r} is no place for blobs", hint="s3://BUCKET/PREFIX or the path of a folder")


def _key(sha256: str) -> str:
    require_sha256(sha256)
    return f"{sha256[:2]}/{sha256}"


async def _checked(sha256: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Fails before it ends when the content is wrong: then nothing is stored."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        await asyncio.to_thread(digest.update, chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise Conflict(f"the upload of {sha256} was damaged or cut off", hint="deploy the project again")


async def _bytes(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in stream:
            yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BaseError, InvalidPathError, OSError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise StorageError(f"cannot use the place for blobs: {reason}", hint="HATCHWAY_BLOBS names it") from exc
