"""Contents from an operator into a cache that pods share."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hatchway.pod.fetching import BUNDLE_FILES, SMALL_BYTES, Contents, Operator, Unavailable, bundles
from hatchway.pod.order import File

PATIENCE_S = 60.0


@dataclass
class Served:
    """An operator's contents, how often each was asked for, and what goes wrong with the next answers."""

    contents: dict[str, bytes]
    faults: list[Callable[[bytes], bytes | None]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0


@contextmanager
def an_operator(served: Served) -> Iterator[Operator]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sha256 = self.path.rpartition("/")[2]
            start = int((self.headers.get("range") or "bytes=0-")[6:-1])
            self._answer([sha256], lambda: served.contents[sha256][start:], 206 if start else 200)

        def do_POST(self) -> None:
            hashes = self.rfile.read(int(self.headers["content-length"])).decode().split()
            parts = [f"{each} {len(served.contents[each])}\n".encode() + served.contents[each] for each in hashes]
            self._answer(hashes, lambda: b"".join(parts), 200)

        def _answer(self, hashes: list[str], body: Callable[[], bytes], status: int) -> None:
            served.asked.update(hashes)
            whole = body()
            sent = served.faults.pop(0)(whole) if served.faults else whole
            if self.headers["authorization"] != "Bearer key":
                status, whole, sent = 401, b"no", b"no"
            self.send_response(503 if sent is None else status)
            self.send_header("content-length", str(0 if sent is None else len(whole)))
            self.end_headers()
            self.wfile.write(sent or b"")
            served.bytes_sent += len(sent or b"")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Not on the terminal of the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/projects"
            yield Operator(url, "key", time.monotonic() + PATIENCE_S)
        finally:
            server.shutdown()
            thread.join()


def a_file(content: bytes, path: str = "a") -> tuple[File, str]:
    sha256 = hashlib.sha256(content).hexdigest()
    return File(path, sha256, len(content), False), sha256


SMALL, SMALL_SHA256 = a_file(b"small")
LARGE_CONTENT = bytes(range(256)) * (SMALL_BYTES // 256 * 3)
LARGE, LARGE_SHA256 = a_file(LARGE_CONTENT, "model.bin")
EVERYTHING = {SMALL_SHA256: b"small", LARGE_SHA256: LARGE_CONTENT}


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(str(tmp_path / "contents"))


def held(contents: Contents, sha256: str) -> bytes:
    return Path(contents.path(sha256)).read_bytes()


def test_what_is_missing_is_fetched_once_and_stays_as_it_is(contents: Contents) -> None:
    served = Served(EVERYTHING)
    with an_operator(served) as operator:
        assert contents.fetch([SMALL, LARGE, SMALL], operator) == 2
        assert contents.fetch([SMALL, LARGE], operator) == 0
    assert (held(contents, SMALL_SHA256), held(contents, LARGE_SHA256)) == (b"small", LARGE_CONTENT)
    assert served.asked == {SMALL_SHA256: 1, LARGE_SHA256: 1}
    assert Path(contents.path(LARGE_SHA256)).stat().st_mode & 0o777 == 0o444


def test_a_large_one_that_was_cut_off_goes_on_where_it_was(contents: Contents) -> None:
    served = Served(EVERYTHING, faults=[lambda body: body[: len(body) // 2]])
    with an_operator(served) as operator:
        contents.fetch([LARGE], operator)
    assert held(contents, LARGE_SHA256) == LARGE_CONTENT
    assert served.bytes_sent == len(LARGE_CONTENT)


@pytest.mark.parametrize("file", [SMALL, LARGE], ids=["small", "large"])
def test_one_that_arrives_damaged_or_is_refused_for_now_is_asked_for_again(contents: Contents, file: File) -> None:
    served = Served(EVERYTHING, faults=[lambda body: body[:-1] + b"?", lambda body: None])
    with an_operator(served) as operator:
        contents.fetch([file], operator)
    assert held(contents, file.sha256) == EVERYTHING[file.sha256]


def test_many_pods_at_once_fetch_a_large_one_once(contents: Contents) -> None:
    served = Served(EVERYTHING)
    with an_operator(served) as operator, ThreadPoolExecutor(6) as pods:
        list(pods.map(lambda _: contents.fetch([LARGE], operator), range(6)))
    assert served.asked == {LARGE_SHA256: 1}
    assert held(contents, LARGE_SHA256) == LARGE_CONTENT


def test_who_is_not_let_in_gives_up_at_once_and_who_is_not_answered_at_the_deadline(contents: Contents) -> None:
    with an_operator(Served(EVERYTHING)) as operator, pytest.raises(Unavailable, match="401"):
        contents.fetch([SMALL], Operator(operator.url, "another", operator.deadline))
    with an_operator(Served(EVERYTHING, faults=[lambda body: None])) as busy, pytest.raises(Unavailable, match="503"):
        contents.fetch([SMALL], Operator(busy.url, "key", time.monotonic()))


def test_thousands_of_small_files_are_a_few_requests() -> None:
    files = [File(str(number), f"{number:064x}", 100, False) for number in range(2500)]
    assert [len(each) for each in bundles(files)] == [BUNDLE_FILES, BUNDLE_FILES, 500]
    assert [len(each) for each in bundles([File("a", "0", SMALL_BYTES, False)] * 33)] == [16, 16, 1]
