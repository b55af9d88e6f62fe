"""What a request to the TCP port says of who sent it, and whether a browser was talked into sending it. Pure.

Two attacks reach a server on loopback through the user's own browser. A name that an attacker's DNS points here
(rebinding) is known by the Host header; a page of another origin, be it another port of this machine, by Origin and
Sec-Fetch-Site. A right token is never in a browser's hands, so whoever has it is not asked for either.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

LOCAL_NAMES = frozenset({"localhost"})
_READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Caller:
    """The headers that count, and the address of the other end."""

    method: str
    host: str
    origin: str | None
    fetch_site: str | None
    bearer: str | None
    cookies: str
    peer: str

    @classmethod
    def of(cls, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        return cls(
            method=scope["method"],
            host=headers.get("host", ""),
            origin=headers.get("origin"),
            fetch_site=headers.get("sec-fetch-site"),
            bearer=credentials.strip() if scheme.lower() == "bearer" else None,
            cookies=headers.get("cookie", ""),
            peer=(scope.get("client") or ("", 0))[0],
        )

    @property
    def is_local(self) -> bool:
        """Whether the other end is on this machine."""
        try:
            address = ipaddress.ip_address(self.peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def cookies_named(self, name: str) -> list[str]:
        """The values of all cookies of this name.

        Cookies know no ports: another server of this host may have set some of its own, also of this name, in a form
        that readers of cookies give up at. None of that may keep ours from being found.
        """
        pairs = (part.strip().partition("=") for part in self.cookies.split(";"))
        return [value for key, _, value in pairs if key == name]

    def knows_us(self, names: Collection[str]) -> bool:
        """Whether the Host is an address, `localhost` or one of our names: what no DNS of a stranger can point here."""
        name = _host_name(self.host)
        if name in LOCAL_NAMES or name in names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_ours(self) -> bool:
        """Whether the request comes from a page of this very port, or from none.

        What changes something must say so by its Origin; what only reads may be without.
        """
        if self.fetch_site not in (None, "same-origin", "none"):
            return False
        if self.origin is None:
            return self.method in _READING
        return self.origin in (f"http://{self.host}", f"https://{self.host}")


def _host_name(host: str) -> str:
    """Without the port: `127.0.0.1:8485`, `[::1]:8485`, `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
