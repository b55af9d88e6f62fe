from __future__ import annotations

import json
import math
from http import HTTPStatus

import pytest

from hatchway.gateway.activator.heads import AnswerHead, RequestHead, make_error

TERMS = b"x-hatchway-api: iris;max_held=5;timeout_s=60"


def a_request(*fields: bytes, terms: bytes = TERMS) -> RequestHead:
    return RequestHead.parse(b"\r\n".join([b"POST /x HTTP/1.1", terms, *fields]))


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


# --- requests ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "patience_s"), [(b"5", 5), (b"90", 60), (b"-1", -1), (b"inf", 60), (b"nan", 60), (b"soon", 60), (b"", 60)]
)
def test_a_caller_may_ask_for_less_time_than_the_api_allows(asked: bytes, patience_s: float) -> None:
    assert a_request(b"x-request-timeout: " + asked).patience_s == patience_s


def test_without_a_timeout_there_is_no_limit() -> None:
    request = a_request(terms=b"x-hatchway-api: iris;max_held=5;timeout_s=0")
    assert request.patience_s == math.inf
    assert not [line for line in lines(request.to_replica(math.inf)) if line.startswith(b"x-request-timeout")]


def test_a_replica_gets_what_is_left_of_the_time_and_takes_it_for_a_first_attempt() -> None:
    request = a_request(b"Connection: keep-alive", b"x-envoy-attempt-count: 3", b"x-request-timeout: 9", b"a: b: c")
    assert lines(request.to_replica(2.5, held_s=1.25, n_refused=3)) == [
        b"POST /x HTTP/1.1",
        TERMS,
        b"a: b: c",
        b"x-envoy-attempt-count: 1",
        b"x-hatchway-held: 1.250000 3",
        b"x-request-timeout: 2.500",
        b"connection: close",
    ]


def test_an_upgrade_is_passed_on() -> None:
    sent = lines(a_request(b"connection: upgrade", b"upgrade: websocket").to_replica(1))
    assert b"connection: upgrade" in sent
    assert b"connection: close" not in sent


def test_repeated_fields_stay() -> None:
    assert lines(a_request(b"cookie: a", b"cookie: b").to_replica(1)).count(b"cookie: a") == 1


def test_a_request_without_terms_is_an_error() -> None:
    with pytest.raises(ValueError, match="max_held"):
        RequestHead.parse(b"GET / HTTP/1.1\r\nhost: x")


# --- answers -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("head", "is_refusal"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nx-hatchway-overloaded: 1", True),
        (b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1", False),
        (b"HTTP/1.1 200 OK\r\nx-hatchway-overloaded: 1", False),
    ],
)
def test_a_refusal_is_a_503_that_says_so(head: bytes, is_refusal: bool) -> None:
    assert AnswerHead.parse(head).is_refusal == is_refusal


def test_envoy_is_not_asked_to_try_a_refused_request_elsewhere() -> None:
    answer = AnswerHead.parse(b"HTTP/1.1 503 x\r\nX-Hatchway-Overloaded: 1\r\nretry-after: 3\r\nconnection: keep-alive")
    assert lines(answer.to_caller()) == [b"HTTP/1.1 503 x", b"retry-after: 3", b"connection: close"]


@pytest.mark.parametrize(("status", "is_interim"), [(100, True), (101, False), (103, True), (200, False)])
def test_another_head_follows_an_interim_one(status: int, is_interim: bool) -> None:
    assert AnswerHead.parse(b"HTTP/1.1 %d x" % status).is_interim == is_interim


def test_an_upgrade_is_passed_back() -> None:
    answer = AnswerHead.parse(b"HTTP/1.1 101 x\r\nconnection: upgrade")
    assert lines(answer.to_caller()) == [b"HTTP/1.1 101 x", b"connection: upgrade"]


@pytest.mark.parametrize("head", [b"", b"200 OK", b"HTTP/1.1 what"])
def test_what_is_no_answer_is_an_error(head: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        AnswerHead.parse(head)


def test_an_error_of_our_own_is_json_and_says_when_to_try_again() -> None:
    head, _, body = make_error(HTTPStatus.SERVICE_UNAVAILABLE, "no_replica", 'say "no"', "id").partition(b"\r\n\r\n")
    assert json.loads(body) == {"error": {"kind": "no_replica", "message": 'say "no"', "request_id": "id"}}
    assert {b"retry-after: 1", b"content-length: %d" % len(body)} <= set(head.split(b"\r\n"))
