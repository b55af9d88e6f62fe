"""Contents by their SHA-256, from the operator into a cache: what is missing, once, checked, and resumed.

A content appears in the cache by rename, whole and right or not at all, and never changes. While the operator does not
answer, or does not have a content yet, it is asked again: a pod may start while the operator is being replaced.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from hatchway.pod.locks import locked
from hatchway.pod.order import File

SMALL_BYTES = 1 << 20  # files up to this size come many at a time
BUNDLE_BYTES, BUNDLE_FILES = 16 << 20, 1000  # at most, in one answer
CHUNK_BYTES = 1 << 20
PAUSE_S = 0.5
TIMEOUT_S = 30.0
_LATER = frozenset({404, 408, 429, 500, 502, 503, 504})


class Unavailable(OSError):
    """What is needed could not be had."""


@dataclass(frozen=True)
class Operator:
    """Where contents are. `deadline`: until when it is asked, monotonic, in seconds."""

    url: str
    token: str = field(repr=False)
    deadline: float


class Contents:
    """The contents in a folder that many pods may share, each of which may be starting now."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, sha256: str) -> str:
        """Where a content is, or would be."""
        return os.path.join(self._folder, sha256[:2], sha256)

    def fetch(self, files: Iterable[File], operator: Operator) -> int:
        """Have all of them here. Returns how many were missing. Raises Unavailable."""
        missing = {each.sha256: each for each in files if not self._has(each)}
        small = [each for each in missing.values() if each.size <= SMALL_BYTES]
        for bundle in bundles(small):
            _again(operator, partial(self._take_bundle, bundle))
        for file in missing.values():
            if file.size > SMALL_BYTES:
                self._fetch_large(file, operator)
        return len(missing)

    def _has(self, file: File) -> bool:
        try:
            return os.stat(self.path(file.sha256)).st_size == file.size
        except FileNotFoundError:
            return False

    # --- many small ones -----------------------------------------------------------------------------------
    def _take_bundle(self, files: Sequence[File], ask: Ask) -> None:
        """An answer holds, for each: its SHA-256, a space, its size in bytes, a line feed, its content."""
        wanted = [each for each in files if not self._has(each)]
        body = "\n".join(each.sha256 for each in wanted)
        answer = ask("POST", "/bundle", body=body)
        for _ in wanted:
            sha256, _, size = answer.readline(200).decode().strip().partition(" ")
            content = answer.read(int(size))
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError(f"{sha256} arrived damaged")
            self._put(sha256, content)

    def _put(self, sha256: str, content: bytes) -> None:
        path = self.path(sha256)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        draft = f"{path}.{secrets.token_hex(4)}.draft"
        with open(draft, "xb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o444)
        os.replace(draft, path)

    # --- a large one ---------------------------------------------------------------------------------------
    def _fetch_large(self, file: File, operator: Operator) -> None:
        """By one pod at a time: the others wait, and find it. What one has begun, the next goes on with."""
        part = self.path(file.sha256) + ".part"
        while not self._has(file):
            with locked(part, operator.deadline) as descriptor, open(descriptor, "r+b", closefd=False) as out:
                if _is_at(descriptor, part):  # else it was finished, or thrown away, while we waited
                    _again(operator, partial(_continue, file, out))
                    os.fchmod(descriptor, 0o444)
                    os.replace(part, self.path(file.sha256))


def _continue(file: File, out: BinaryIO, ask: Ask) -> None:
    """Read what is not there yet. Starts anew when what is there turns out to be wrong."""
    out.seek(0)
    digest = hashlib.sha256()
    while chunk := out.read(CHUNK_BYTES):
        digest.update(chunk)
    have = out.tell()
    if have < file.size:
        answer = ask("GET", f"/contents/{file.sha256}", start=have)
        if answer.status != HTTPStatus.PARTIAL_CONTENT and have:
            _empty(out)
            digest = hashlib.sha256()
        while chunk := answer.read(CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
    if out.tell() < file.size:
        raise ValueError(f"{file.path} was cut off")
    if digest.hexdigest() != file.sha256:
        _empty(out)
        raise ValueError(f"{file.path} arrived damaged")
    os.fsync(out.fileno())


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _is_at(descriptor: int, path: str) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def bundles(files: Sequence[File]) -> Iterator[list[File]]:
    """What is asked for at a time."""
    bundle: list[File] = []
    size = 0
    for file in files:
        if bundle and (len(bundle) == BUNDLE_FILES or size + file.size > BUNDLE_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append(file)
        size += file.size
    if bundle:
        yield bundle


class Ask(Protocol):
    """One question to the operator. Raises OSError, HTTPException, or ValueError for a refusal that may pass."""

    def __call__(self, method: str, path: str, *, body: str | None = None, start: int = 0) -> HTTPResponse: ...


def _again(operator: Operator, act: Callable[[Ask], None]) -> None:
    """Until it is done, on a new connection each time. Raises Unavailable for a refusal, and at the deadline."""
    while True:
        connection = _connect(operator.url)
        try:
            act(partial(_ask, connection, operator))
        except (OSError, HTTPException, ValueError) as exc:
            if isinstance(exc, Unavailable) or time.monotonic() >= operator.deadline:
                raise Unavailable(f"cannot get the project from {operator.url}: {exc}") from exc
        else:
            return
        finally:
            connection.close()
        time.sleep(PAUSE_S)


def _ask(
    connection: HTTPConnection, operator: Operator, method: str, path: str, *, body: str | None = None, start: int = 0
) -> HTTPResponse:
    headers = {"authorization": f"Bearer {operator.token}"}
    if start:
        headers["range"] = f"bytes={start}-"
    connection.request(method, urlsplit(operator.url).path + path, body, headers)
    answer = connection.getresponse()
    if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return answer
    said = f"{answer.status} {answer.read(500).decode(errors='replace')}"
    raise ValueError(said) if answer.status in _LATER else Unavailable(said)


def _connect(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return make(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
