"""Blobs in a bucket (S3, of a server that speaks it) and on a volume: the same sentences for both."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import LocalStore, ObjectStore, S3Store

from hatchway.errors import Conflict, NotFound, StorageError, UsageError
from hatchway.store.bucket import CHUNK_BYTES, UNCLAIMED_S, Bucket, open_bucket

SMALL, EMPTY, LARGE = b"weights", b"", b"0123456789abcdef" * (CHUNK_BYTES // 8)  # the last travels in parts


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["s3", "volume"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "volume":
        return LocalStore(tmp_path)
    url = request.getfixturevalue("s3")
    name = f"bucket-{tmp_path.name[-20:].strip('-_').replace('_', '-').lower()}"
    return a_bucket(url, name)


def a_bucket(url: str, name: str) -> S3Store:
    import httpx

    httpx.put(f"{url}/{name}", headers={"authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/"})
    return S3Store(
        name,
        prefix="hatchway",
        endpoint=url,
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
    )


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def parts_of(content: bytes, size: int = 1_000_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(bucket: Bucket, sha256: str) -> bytes:
    found = await bucket.read(sha256)
    content = b"".join([chunk async for chunk in found.chunks])
    assert found.size_bytes == len(content)
    return content


@pytest.mark.parametrize("content", [SMALL, EMPTY, LARGE], ids=["small", "empty", "large"])
async def test_what_was_added_is_there_for_everybody(store: ObjectStore, content: bytes) -> None:
    name = sha256_of(content)
    bucket, of_another_operator = Bucket(store), Bucket(store)
    assert await asyncio.to_thread(bucket.missing, [name, name]) == [name]
    for _ in range(2):  # two who deploy the same file
        await bucket.add_async_stream(name, parts_of(content))
    assert await asyncio.to_thread(of_another_operator.missing, [name]) == []
    assert await read(of_another_operator, name) == content


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_what_is_not_what_its_name_says_never_appears(store: ObjectStore, content: bytes) -> None:
    bucket, name = Bucket(store), sha256_of(content)
    with pytest.raises(Conflict, match="damaged or cut off"):
        await bucket.add_async_stream(name, parts_of(content[:-1]))

    async def cut_off() -> AsyncIterator[bytes]:
        async for part in parts_of(content):
            yield part
        raise ConnectionAbortedError("the client went away")

    with pytest.raises(StorageError):
        await bucket.add_async_stream(name, cut_off())
    assert await asyncio.to_thread(bucket.missing, [name]) == [name]
    with pytest.raises(NotFound):
        await bucket.read(name)
    assert [each for page in obstore.list(store) for each in page] == []


async def test_what_nothing_names_goes_unless_it_has_just_come(store: ObjectStore) -> None:
    bucket = Bucket(store)
    wanted, unwanted = sha256_of(b"wanted"), sha256_of(b"unwanted")
    await bucket.add_async_stream(wanted, parts_of(b"wanted"))
    await bucket.add_async_stream(unwanted, parts_of(b"unwanted"))
    await obstore.put_async(store, "readme.txt", b"of somebody else")
    assert await asyncio.to_thread(bucket.prune, {wanted}) == 0
    later = Bucket(store, wall_clock=lambda: time.time() + UNCLAIMED_S + 60)
    assert await asyncio.to_thread(later.prune, {wanted}) == len(b"unwanted")
    assert await asyncio.to_thread(bucket.missing, [wanted, unwanted]) == [unwanted]
    assert await asyncio.to_thread(later.prune, {wanted}) == 0
    assert (await obstore.head_async(store, "readme.txt"))["size"] > 0


async def test_a_name_that_is_no_hash_reaches_no_store(store: ObjectStore) -> None:
    bucket = Bucket(store)
    for call in (bucket.add_async_stream("../../etc/passwd", parts_of(b"x")), bucket.read("../../etc/passwd")):
        with pytest.raises(UsageError, match="is not a SHA-256"):
            await call
    with pytest.raises(UsageError):
        bucket.missing(["../../etc/passwd"])


async def test_a_store_that_is_not_there_is_told(s3: str) -> None:
    bucket = Bucket(S3Store("nobodys", endpoint=s3, access_key_id="k", secret_access_key="s", region="us-east-1",
                            client_options={"allow_http": True}))  # fmt: skip
    with pytest.raises(StorageError, match="cannot use the place for blobs"):
        await bucket.add_async_stream(sha256_of(SMALL), parts_of(SMALL))


async def test_an_address_names_a_bucket_or_a_volume(tmp_path: Path) -> None:
    await open_bucket(f"{tmp_path}/blobs").add_async_stream(sha256_of(SMALL), parts_of(SMALL))
    assert await read(open_bucket(f"file://{tmp_path}/blobs"), sha256_of(SMALL)) == SMALL
    assert (tmp_path / "blobs" / sha256_of(SMALL)[:2] / sha256_of(SMALL)).read_bytes() == SMALL
    open_bucket("s3://models/hatchway")
    for wrong in ("models", "ftp://models/x", "s3://", "file://"):
        with pytest.raises(UsageError, match="no place for blobs"):
            open_bucket(wrong)
