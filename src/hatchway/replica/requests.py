"""What a handler may ask about its request: the request itself, its query parameters and its headers.

Everything is parsed on first use: most handlers want the payload only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qsl, unquote

RawHeaders = Sequence[tuple[bytes, bytes]]  # names in lower case


class Headers(Mapping[str, str]):
    """Header fields by name in any case; repeated fields are joined with ", "."""

    def __init__(self, raw: RawHeaders) -> None:
        self.raw = raw
        self._fields: dict[str, str] = {}
        for name, value in raw:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self._fields[key] = f"{self._fields[key]}, {text}" if key in self._fields else text

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"

    def getlist(self, name: str) -> list[str]:
        """Every value of a repeated field, in order."""
        wanted = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]


class QueryParams(Mapping[str, str]):
    """Query parameters; of a repeated one the last value counts, `getlist` gives all."""

    def __init__(self, query: str) -> None:
        self._pairs = parse_qsl(query, keep_blank_values=True)
        self._last = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def __repr__(self) -> str:
        return f"QueryParams({self._pairs!r})"

    def getlist(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]


class _Received(Protocol):
    """The part of an exchange that a Request shows."""

    method: str
    target: bytes
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes
    request_id: str
    gone: bool


class Request:
    """The `request` argument of a handler."""

    def __init__(self, received: _Received) -> None:
        self._received = received
        path, _, query = received.target.partition(b"?")
        self.method = received.method
        self.path = unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1")
        self.query_params = QueryParams(query.decode("latin-1"))
        self.headers = Headers(received.raw_headers)
        self.body = received.body
        self.id = received.request_id

    @property
    def client_gone(self) -> bool:
        """True once the caller has closed the connection: nobody will read the answer."""
        return self._received.gone

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path} id={self.id})"
