from __future__ import annotations

from http import HTTPStatus

import pytest

from hatchway.dev.heads import RequestHead, find_endpoint, make_error, status_of


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/iris", "/iris"),
        ("/iris/", "/iris"),
        ("/iris/deep", "/iris/deep"),
        ("/iris/deeper", "/iris"),
        ("/iris2", None),
        ("/", None),
    ],
)
def test_the_longest_endpoint_of_whole_segments_is_found(path: str, endpoint: str | None) -> None:
    assert find_endpoint(path, ["/iris", "/iris/deep", "/other"]) == endpoint


def test_an_api_at_the_root_takes_the_rest() -> None:
    assert find_endpoint("/anything", ["/", "/iris"]) == "/"


@pytest.mark.parametrize(
    ("endpoint", "target", "seen"),
    [
        ("/iris", "/iris", "/"),
        ("/iris", "/iris?verbose=1", "/?verbose=1"),
        ("/iris", "/iris/a/b?c", "/a/b?c"),
        ("/", "/a", "/a"),
        ("/iris", "http://127.0.0.1:8000/iris/a", "/a"),
    ],
)
def test_the_replica_sees_a_path_without_the_endpoint(endpoint: str, target: str, seen: str) -> None:
    head = RequestHead.parse(f"POST {target} HTTP/1.1\r\nHost: here".encode())
    assert head.to_replica(endpoint, "127.0.0.1").startswith(f"POST {seen} HTTP/1.1\r\nhost: here\r\n".encode())


def test_only_the_front_says_what_a_gateway_says() -> None:
    head = RequestHead.parse(b"GET /iris HTTP/1.1\r\nX-Hatchway-Endpoint: /evil\r\nConnection: keep-alive\r\nX-Mine: 1")
    sent = head.to_replica("/iris", "127.0.0.1").lower()
    assert b"evil" not in sent
    assert b"x-hatchway-endpoint: /iris\r\n" in sent
    assert b"connection: close\r\n" in sent
    assert b"x-mine: 1\r\n" in sent


def test_an_upgrade_stays_one() -> None:
    head = RequestHead.parse(b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket")
    assert b"connection: Upgrade" in head.to_replica("/chat", "127.0.0.1")


@pytest.mark.parametrize(
    "text", [b"", b"hello", b"GET /", b"GET / HTTP/2", b"GET / HTTP/1.1\r\nno colon", b"G T / HTTP/1.1"]
)
def test_what_is_no_http_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whichever part is wrong)
        RequestHead.parse(text)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 422 Unprocessable\r\n\r\n", 422),
        (b"HTTP/1.1 101 Switching Protocols\r\n", 101),
        (b"HTT", None),
    ],
)
def test_the_status_of_an_answer_is_that_of_its_final_head(answer: bytes, status: int | None) -> None:
    assert status_of(answer) == status


def test_errors_have_the_form_of_all_errors() -> None:
    answer = make_error(HTTPStatus.NOT_FOUND, "not_found", "nothing here", "id-1")
    assert status_of(answer) == 404
    assert b'{"error": {"kind": "not_found", "message": "nothing here", "request_id": "id-1"}}' in answer
    assert b"x-request-id: id-1\r\n" in answer


@pytest.mark.parametrize(("given", "kept"), [(b"abc-1", "abc-1"), (b"a" * 129, ""), (b"\x1b[31m", "")])
def test_the_clients_id_is_kept_when_it_can_be_used(given: bytes, kept: str) -> None:
    assert RequestHead.parse(b"GET / HTTP/1.1\r\nX-Request-Id: " + given).request_id == kept
