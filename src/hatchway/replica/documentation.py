"""`/openapi.json` and `/docs` of a handler: answered at once, outside of admission, so that a busy API explains itself.

A handler whose GET method asks for `request` can tell one path from another, so all of them are its own. Any other
answers GET alike on every path, or not at all: there these two are documentation.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re

from hatchway.contract import Launch
from hatchway.replica.connection import Exchange, ExtraHeaders, Sink, root_path_of
from hatchway.replica.loading import Handler
from hatchway.replica.openapi import document
from hatchway.replica.serialise import to_json

OPENAPI_PATH = b"/openapi.json"
PAGE_PATHS = (b"/docs", b"/docs/")

with open(os.path.join(os.path.dirname(__file__), "docs.html"), "rb") as _file:
    _PAGE = _file.read()  # now: an upgrade may replace the file while replicas live on


class Documentation:
    """The documentation of one handler."""

    def __init__(self, launch: Launch, handler: Handler) -> None:
        self.launch = launch
        self.handler = handler
        get = handler.methods.get("GET")
        self._written: tuple[str, bytes] = "", b""  # the document for the endpoint that was last asked for
        self._paths: frozenset[bytes] = frozenset()
        if get is None or "request" not in get.arguments:
            self._paths = frozenset((OPENAPI_PATH, *PAGE_PATHS))

    def document(self, endpoint: str) -> bytes:
        """As JSON. It is the same until the endpoint changes: all else of it is the handler's."""
        if not self._written[1] or self._written[0] != endpoint:
            self._written = endpoint, to_json(document(self.launch, self.handler, endpoint))
        return self._written[1]

    def answers(self, method: str, target: bytes) -> bool:
        return method in ("GET", "HEAD") and target.partition(b"?")[0] in self._paths


class Leaf(Exchange):
    """A request for the document or the page."""

    __slots__ = ("_documentation",)

    def __init__(
        self, documentation: Documentation, sink: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(sink, method, target, headers)
        self._documentation = documentation

    def begin(self) -> None:
        if self.target.partition(b"?")[0] in PAGE_PATHS:
            self.answer(200, b"text/html; charset=utf-8", _PAGE, _PAGE_HEADERS)
            return
        endpoint = root_path_of(self.fields, self._documentation.launch.endpoint.rstrip("/"))
        self.answer(200, b"application/json", self._documentation.document(endpoint), _FRESH)


def _sources(tag: bytes) -> str:
    """The hashes by which a browser knows the page's own inline scripts or styles."""
    found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), _PAGE, flags=re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)


_FRESH: ExtraHeaders = [(b"cache-control", b"no-cache")]  # another revision may say something else
_POLICY = (
    f"default-src 'none'; script-src {_sources(b'script')}; style-src {_sources(b'style')}; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_PAGE_HEADERS: ExtraHeaders = [
    *_FRESH,
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
