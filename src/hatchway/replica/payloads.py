"""From a request's body to the `payload` argument, by content type.

application/json and +json: parsed. Forms: starlette's FormData. text/plain: str in its charset. Anything else: bytes.
"""

from __future__ import annotations

import codecs
import encodings
import encodings.aliases
import importlib
import pkgutil
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import orjson

from hatchway.errors import RequestError

JSON = b"application/json"
_SLOW_CHARSETS = frozenset({"idna", "punycode"})  # for names; a megabyte would take them hours
MAX_FORM_FIELDS = 10_000
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def is_form(content_type: bytes | None) -> bool:
    """Whether the body is a form, whose parsing has to be awaited."""
    return content_type is not None and media_type_of(content_type) in FORMS


def parse(content_type: bytes | None, body: bytes) -> Any:
    """The payload of a body that is not a form. Raises RequestError (400)."""
    if content_type == JSON:
        return parse_json(body)
    if content_type is None:
        return body
    media_type = media_type_of(content_type)
    if is_json(media_type):
        return parse_json(body)
    if media_type == "text/plain":
        return decode_text(body, charset_of(content_type))
    return body


async def parse_form(raw_headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
    """Starlette's FormData. Raises RequestError: 400 for a damaged form, 415 when the parser is not installed."""
    try:
        formparsers = importlib.import_module("starlette.formparsers")
        datastructures = importlib.import_module("starlette.datastructures")
    except ImportError as exc:
        raise _no_form_parser() from exc
    headers = datastructures.Headers(raw=raw_headers)
    multipart = media_type_of(headers.get("content-type", "").encode("latin-1")) == "multipart/form-data"
    if not multipart and body.count(b"&") >= MAX_FORM_FIELDS:  # which Starlette does not bound; multipart it does
        raise RequestError(f"the form has more than {MAX_FORM_FIELDS} fields", status=413)
    parser_class = formparsers.MultiPartParser if multipart else formparsers.FormParser
    try:
        return await parser_class(headers, _one_piece(body)).parse()
    except AssertionError as exc:  # how starlette says that python-multipart is missing
        raise _no_form_parser() from exc
    except (ValueError, KeyError, formparsers.MultiPartException) as exc:
        raise RequestError(f"the form in the request's body is damaged: {exc}") from exc


def _no_form_parser() -> RequestError:
    return RequestError(
        "this API cannot read forms: add starlette and python-multipart to its dependencies, or send JSON", status=415
    )


async def _one_piece(body: bytes) -> AsyncIterator[bytes]:
    yield body
    yield b""


def parse_json(body: bytes) -> Any:
    """Raises RequestError (400). Strict: no NaN, no infinities, no number too large for a double, depth 1024."""
    if not body:
        raise RequestError("the request's body is empty; its content type is application/json, so send a JSON value")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        message = exc.msg.partition(": line ")[0]
        raise RequestError(
            f"the request's body is not valid JSON: {message}, line {exc.lineno} column {exc.colno}"
        ) from exc


def decode_text(body: bytes, charset: str) -> str:
    """Raises RequestError (400)."""
    # Looked up here first: the codec registry remembers every name that it does not know.
    if encodings.normalize_encoding(charset).lower() not in _charsets():
        raise RequestError(f"unknown charset {charset[:40]!r} in the content type")
    try:
        if codecs.lookup(charset).name not in _SLOW_CHARSETS:
            return body.decode(charset)
    except LookupError as exc:  # one that is not for texts
        raise RequestError(f"unknown charset {charset!r} in the content type") from exc
    except (UnicodeError, ValueError) as exc:
        raise RequestError(f"the request's body is not valid {charset} text: {exc}") from exc
    raise RequestError(f"the charset {charset!r} in the content type is not for texts")


@cache
def _charsets() -> frozenset[str]:
    """All that this Python knows, by their normalised names."""
    modules = (module.name for module in pkgutil.iter_modules(encodings.__path__))
    return frozenset((*encodings.aliases.aliases, *encodings.aliases.aliases.values(), *modules))


def is_json(media_type: str) -> bool:
    """Of a media type without its parameters."""
    return media_type == "application/json" or media_type.endswith("+json")


def media_type_of(content_type: bytes) -> str:
    """ "text/csv" of b"Text/CSV; charset=latin-1"."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def charset_of(content_type: bytes) -> str:
    """The charset that a content type names, else "utf-8"."""
    for parameter in content_type.decode("latin-1").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or "utf-8"
    return "utf-8"
