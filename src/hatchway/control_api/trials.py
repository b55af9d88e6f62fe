"""Sends one request to an API through the gateway, for a page that may not do so itself: the gateway is another origin,
and opening users' APIs to pages of other origins would be their decision.

What is asked can only reach the API it names: its own endpoint, at the gateway, without redirects, and nothing of the
asking request (its cookie, its token) goes along. Everything is bounded: how many at a time, how large, how long.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
import uuid
from urllib.parse import quote, unquote

import httpx

from hatchway.contract import HEADER_REQUEST_ID
from hatchway.errors import Conflict, GatewayError, TimedOut, UsageError
from hatchway.spec.trial import TrialAnswer, TrialRequest

MAX_AT_ONCE = 8
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_ANSWER_BYTES = 128 * 1024  # of it are told; as base64 in JSON it stays below 200 KB
MAX_HEADERS_BYTES = 16 * 1024
LIMIT_S = 60.0  # as long as the default handler.timeout

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_FORWARDED = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect")
)
_PATH_CHARACTERS = "/?=&%:@!$'()*+,;~-._"


class Trials:
    """`limit_s` bounds one request, from its first byte to the last that is told."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._going_on = 0

    async def send(self, endpoint: str, trial: TrialRequest) -> TrialAnswer:
        """`endpoint`: the API's URL. Raises UsageError, Conflict when many go on, GatewayError, TimedOut."""
        request = to_request(endpoint, trial)
        if self._going_on >= MAX_AT_ONCE:
            raise Conflict(f"{MAX_AT_ONCE} requests are on their way", hint="wait for one of them")
        self._going_on += 1
        try:
            async with asyncio.timeout(self._limit_s):
                return await _answer(request)
        except TimeoutError:
            raise TimedOut(f"no answer within {self._limit_s:g} s", hint="curl has no such limit") from None
        except httpx.HTTPError as exc:
            raise GatewayError(f"{endpoint} did not answer: {exc}") from exc
        finally:
            self._going_on -= 1


def to_request(endpoint: str, trial: TrialRequest) -> httpx.Request:
    """What will be sent. Raises UsageError for what could reach anything else, or is too large."""
    body = _body(trial)
    headers = [(name.lower(), value) for name, value in trial.headers.items()]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise UsageError(f"{name[:40]!r} is not a header that can be sent")
        if name in _NOT_FORWARDED:
            raise UsageError(f"the header {name} is the gateway's own")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS_BYTES:
        raise UsageError(f"the headers are larger than {MAX_HEADERS_BYTES >> 10} KiB")
    if not any(name == HEADER_REQUEST_ID for name, _ in headers):
        headers.append((HEADER_REQUEST_ID, uuid.uuid4().hex))
    return httpx.Request(trial.method, endpoint + _path(trial.path), headers=headers, content=body)


def _path(path: str) -> str:
    """The part after the endpoint: it begins with a slash or a question mark and never leaves it."""
    if not path:
        return ""
    if path[0] not in "/?" or "#" in path or "\\" in path or not path.isprintable():
        raise UsageError(f"{path[:80]!r} is not a path below the endpoint", hint="begin it with / or ?")
    # To Envoy `..;` is `..`, too.
    if any(part.partition(";")[0] in (".", "..") for part in unquote(path.partition("?")[0]).split("/")):
        raise UsageError("a path with . or .. could leave the endpoint")
    return quote(path, safe=_PATH_CHARACTERS)


def _body(trial: TrialRequest) -> bytes | None:
    if trial.body_base64 is None:
        body = None if trial.body is None else trial.body.encode(errors="replace")
    else:
        try:
            body = base64.b64decode(trial.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("body_base64 is not base64") from None
    if body is not None and len(body) > MAX_BODY_BYTES:
        raise UsageError(f"the body is larger than {MAX_BODY_BYTES >> 20} MiB", hint="send it with curl")
    return body


async def _answer(request: httpx.Request) -> TrialAnswer:
    content, is_cut, began = bytearray(), False, time.monotonic()
    # A client of its own: cookies of one answer must not go with the next request. The gateway is on this machine.
    async with httpx.AsyncClient(timeout=None, trust_env=False, follow_redirects=False) as client:
        response = await client.send(request, stream=True)
        try:
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    is_cut = True
                    break
        finally:
            await response.aclose()
    took_ms = (time.monotonic() - began) * 1000
    text = None if _is_binary(response.headers.get("content-type", "")) else _text(bytes(content[:MAX_ANSWER_BYTES]))
    return TrialAnswer(
        status=response.status_code,
        took_ms=round(took_ms, 2),
        headers=tuple(response.headers.multi_items()),
        request_id=response.headers.get(HEADER_REQUEST_ID, request.headers[HEADER_REQUEST_ID]),
        body=text,
        body_base64=base64.b64encode(content[:MAX_ANSWER_BYTES]).decode() if text is None else None,
        is_cut=is_cut,
    )


def _is_binary(content_type: str) -> bool:
    return content_type.startswith(("image/", "audio/", "video/", "application/octet-stream"))


def _text(content: bytes) -> str | None:
    """None when it is none; a character that was cut in two at the end is left out."""
    for length in range(len(content), max(len(content) - 4, -1), -1):
        try:
            return content[:length].decode()
        except UnicodeDecodeError:
            continue
    return None
