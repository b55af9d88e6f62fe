"""The control API of an operator, on TCP: answered here by the one that leads, passed on to it by the others."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from hatchway.control_api.access import Access
from hatchway.control_api.app import make_app
from hatchway.control_api.connections import BoundedHttp
from hatchway.control_api.front import Front, Ours
from hatchway.control_api.plane import ControlPlane
from hatchway.dashboard.pages import Pages
from hatchway.kubernetes.names import CONTROL_API_PORT
from hatchway.operator.relay import Relay
from hatchway.operator.tokens import Tokens
from hatchway.serving import configure, serve_until_cancelled

COOKIE = "hatchway_cluster"


@dataclass(frozen=True)
class Entrance:
    """A socket, and who may come in. `names`: what browsers may call us beside addresses and localhost."""

    listener: socket.socket
    tokens: Tokens
    names: frozenset[str] = frozenset()


class Control:
    """`plane` is None while we do not lead."""

    def __init__(
        self,
        entrance: Entrance,
        plane: Callable[[], ControlPlane | None],
        relay: Relay,
    ) -> None:
        self._listener = entrance.listener
        self._access = Access(entrance.tokens.session_key(), entrance.tokens.is_token)
        self._plane = plane
        self._relay = relay
        self._ours = Ours(cookie=COOKIE, names=entrance.names, user="dashboard")
        self._pages = Pages.read()
        self._made: tuple[ControlPlane, ASGIApp] | None = None  # for the plane of this term

    def link(self) -> str:
        """For a browser that reaches us somehow: who asks knows under which address."""
        return f"http://127.0.0.1:{CONTROL_API_PORT}/enter?code={quote(self._access.new_code(time.time()))}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        plane = self._plane()
        app = self._relay if plane is None else self._front(plane)
        await app(scope, receive, send)

    def _front(self, plane: ControlPlane) -> ASGIApp:
        if self._made is None or self._made[0] is not plane:
            control = make_app(plane, accepts_paths=False)
            self._made = plane, Front(self._access, self._ours, self._pages, control)
        return self._made[1]

    async def serve(self) -> None:
        """Until cancelled."""
        try:
            config = configure(self, http=BoundedHttp)
            await serve_until_cancelled(config, "control API", [self._listener])
        finally:
            await self._relay.close()
