"""The engine's TCP port: its socket, its token, its address, and the links that let a browser in."""

from __future__ import annotations

import socket
import time
from urllib.parse import quote

from starlette.types import ASGIApp

from hatchway.client.connection import user_here
from hatchway.control_api.access import Access, read_or_make_token
from hatchway.control_api.front import Front, Ours
from hatchway.dashboard.pages import Pages
from hatchway.gateway.ports import DASHBOARD, ip_address, listen, to_url
from hatchway.settings import Settings


class Listener:
    """One per engine. `open` comes first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._host = ip_address(settings.host)
        self._socket: socket.socket | None = None
        self._access = Access("")

    def open(self) -> None:
        """Take the port, before anything is started that would have to be ended again.

        Raises GatewayError, StorageError.
        """
        settings = self._settings
        self._access = Access(read_or_make_token(settings.dashboard_token))
        self._socket = listen(self._host, settings.dashboard_port, settings.dashboard_dir / "port", DASHBOARD)

    @property
    def socket(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("the listener was not opened")
        return self._socket

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it, without a slash at the end."""
        return to_url(self._host, self.port)

    def link(self) -> str:
        """An address that lets one browser in, once."""
        return f"{self.url}/enter?code={quote(self._access.new_code(time.time()))}"

    def app(self, control: ASGIApp) -> ASGIApp:
        """What is answered here, in front of the control API."""
        is_local = self._host in ("127.0.0.1", "::1")
        name = socket.gethostname().lower()
        ours = Ours(
            # Cookies know no ports: two homes of this machine must not overwrite each other's.
            cookie=f"hatchway_{self._settings.home_hash}",
            names=frozenset() if is_local else frozenset({name, name.partition(".")[0]}),
            user=user_here(),
        )
        return Front(self._access, ours, Pages.read(), control)
