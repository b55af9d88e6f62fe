from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from hatchway.errors import LoadError
from hatchway.replica.signature import METHOD_ARGUMENTS, call_kind, wanted_arguments


def plain(payload: Any) -> None: ...


async def asynchronous(request_id: str, payload: Any) -> None: ...


def generator(headers: Any, *, query_params: Any) -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


class AnObject:
    async def __call__(self, payload: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "kind", "wants"),
    [
        (plain, "sync", ("payload",)),
        (asynchronous, "async", ("request_id", "payload")),
        (generator, "generator", ("headers", "query_params")),
        (async_generator, "async generator", ()),
        (decorated(asynchronous), "async", ("request_id", "payload")),
        (functools.partial(asynchronous, request_id="x"), "async", ("request_id", "payload")),
        (AnObject(), "async", ("payload",)),
        (lambda payload, threshold=0.5: payload, "sync", ("payload",)),
        (len, "sync", ()),
    ],
)
def test_kind_and_arguments(function: Any, kind: str, wants: tuple[str, ...]) -> None:
    assert call_kind(function) == kind
    if function is not len:
        assert wanted_arguments(function, METHOD_ARGUMENTS, "f") == wants


def with_client(payload: Any, python_client: Any) -> None: ...


def with_metrics(metrics_client: Any) -> None: ...


def with_nonsense(nonsense: Any) -> None: ...


def by_position(payload: Any, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (with_client, ["'python_client'", "load the model in __init__"]),
        (with_metrics, ["'metrics_client'", "ask for it in __init__"]),
        (with_nonsense, ["'nonsense'", "payload, query_params, headers, request, request_id"]),
        (by_position, ["'payload'", "by position only"]),
    ],
)
def test_an_argument_that_is_not_offered_is_refused_with_what_is(function: Any, words: list[str]) -> None:
    with pytest.raises(LoadError) as caught:
        wanted_arguments(function, METHOD_ARGUMENTS, "function f (handler.py:1)")
    assert caught.value.reason == "BadSignature"
    assert [word for word in ["function f (handler.py:1)", *words] if word not in str(caught.value)] == []
