"""The ways to a control plane: the socket of a home's engine, an operator's address, or a cluster's API server.

A client is given one, and asks it where to send requests, what it means that nobody answers, and whether to ask again.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hatchway import targets
from hatchway.client.connection import HOST, identity, is_listening
from hatchway.errors import AccessDenied, EngineUnavailable, TimedOut, UsageError
from hatchway.settings import Settings
from hatchway.targets import Address, Cluster, Local, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatchway.kubernetes.loopback import Loopback

RETRY_S = 0.1
REMOTE_RETRY_S = 1.0


@dataclass(frozen=True)
class Door:
    """Where requests are answered: at an address, or on a unix socket of this machine if there is one."""

    url: str
    socket: Path | None = None


class Way(ABC):
    """To the control plane of `target`.

    accepts_paths:  whether it reads this machine's files.
    is_carried:     whether connections last as long as we do.
    retry_s:        how long to wait before asking again where nobody answered.
    """

    target: Target
    accepts_paths = False
    is_carried = False
    retry_s = REMOTE_RETRY_S

    @abstractmethod
    def door(self) -> Door:
        """Of the control API. May take seconds the first time. Raises HatchwayError when there is no way."""

    def headers(self) -> Mapping[str, str]:
        """That go with every request, once the door is known."""
        return identity()

    def gateway(self, endpoint: str) -> Door:
        """Where requests to an API are answered. Raises HatchwayError."""
        return Door(endpoint)

    def browser_url(self) -> str | None:
        """The address for a browser of this machine; None: what the control plane says itself. Raises HatchwayError."""
        return None

    def is_listening(self) -> bool:
        """Whether asking again may be of use: costs nothing."""
        return True

    def taken_down(self) -> EngineUnavailable | None:
        """Why nobody will answer any more, if that is so."""
        return None

    def gone(self) -> EngineUnavailable:
        """Nobody answered, or the answer broke off."""
        return EngineUnavailable(f"{self.target.name} ({self.target.place}) does not answer, or broke off")

    def too_late(self) -> TimedOut:
        return TimedOut(f"{self.target.name} ({self.target.place}) did not answer in time")

    def close(self) -> None:
        """Connections that are carried end."""
        return None


class HomeWay(Way):
    """To the engine of a home."""

    accepts_paths = True
    retry_s = RETRY_S

    def __init__(self, socket: Path) -> None:
        self.target = Local()
        self._socket = socket

    def door(self) -> Door:
        return Door(f"http://{HOST}", self._socket)

    def is_listening(self) -> bool:
        return is_listening(self._socket)

    def taken_down(self) -> EngineUnavailable | None:
        if self._socket.parent.is_dir():
            return None
        return EngineUnavailable("hatchway was taken down", hint="bring it back with: hatchway up")

    def gone(self) -> EngineUnavailable:
        return EngineUnavailable("the engine is not running, or went away", hint="start it with: hatchway up")

    def too_late(self) -> TimedOut:
        return TimedOut("the engine did not answer in time")


class AddressWay(Way):
    """To an operator that has an address."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self._url, self._token = target.url, target.token

    def door(self) -> Door:
        return Door(self._url)

    def headers(self) -> Mapping[str, str]:
        return {**identity(), "authorization": f"Bearer {self._token}"}

    def browser_url(self) -> str:
        return self._url


class ClusterWay(Way):
    """To an operator in a cluster, through the API server, with the token that its Secret has."""

    is_carried = True

    def __init__(self, target: Cluster) -> None:
        self.target = target
        self._cluster = target
        self._loopback: Loopback | None = None
        self._door: Door | None = None
        self._gateway: Path | None = None
        self._token = ""

    def door(self) -> Door:
        from hatchway.kubernetes import names

        if self._door is None:
            with self._problems():
                found = self.loopback.secret(names.TOKEN_SECRET, names.TOKEN_SECRET_KEY)
                if found is None:
                    raise EngineUnavailable(
                        f"there is no Secret {names.TOKEN_SECRET} in {self.target.place}",
                        hint="is Hatchway installed there, and in this namespace?",
                    )
                self._token = found
                socket = self.loopback.unix_socket(names.CONTROL_SERVICE, names.CONTROL_SERVICE_PORT)
                self._door = Door(f"http://{HOST}", socket)
        return self._door

    def headers(self) -> Mapping[str, str]:
        return {**identity(), "authorization": f"Bearer {self._token}"}

    def gateway(self, endpoint: str) -> Door:
        from hatchway.kubernetes import names

        if self._gateway is None:
            with self._problems():
                self._gateway = self.loopback.unix_socket(names.GATEWAY_SERVICE, names.GATEWAY_SERVICE_PORT)
        return Door(f"http://{urlsplit(endpoint).netloc}{urlsplit(endpoint).path}", self._gateway)

    def browser_url(self) -> str:
        """An address on this machine, for as long as we are not closed. Raises HatchwayError."""
        from hatchway.kubernetes import names

        with self._problems():
            return f"http://127.0.0.1:{self.loopback.tcp_port(names.CONTROL_SERVICE, names.CONTROL_SERVICE_PORT)}"

    def gone(self) -> EngineUnavailable:
        problem = self._loopback.problem if self._loopback is not None else ""
        return EngineUnavailable(f"{super().gone().message}{': ' * bool(problem)}{problem}")

    def close(self) -> None:
        if self._loopback is not None:
            self._loopback.close()
        self._loopback = self._door = self._gateway = None

    @property
    def loopback(self) -> Loopback:
        if self._loopback is None:
            with needs_extra():
                from hatchway.kubernetes.connection import connect
                from hatchway.kubernetes.loopback import Loopback
            cluster = self._cluster
            kubeconfig = None if cluster.kubeconfig is None else Path(cluster.kubeconfig)
            self._loopback = Loopback(
                lambda: connect(cluster.context, kubeconfig=kubeconfig, namespace=cluster.namespace)
            )
        return self._loopback

    @contextmanager
    def _problems(self) -> Iterator[None]:
        """What the API server says, as errors of ours."""
        with needs_extra():
            from hatchway.kubernetes.api_server import Refused, Unreachable

        where = f"{self.target.name} ({self.target.place})"
        try:
            yield
        except Refused as refused:
            if refused.code in (401, 403):
                raise AccessDenied(f"{where}: {refused}", hint="docs/targets.md lists the rights it takes") from refused
            raise EngineUnavailable(f"{where}: {refused}", hint="is Hatchway installed there?") from refused
        except Unreachable as exc:
            raise EngineUnavailable(f"{where}: {exc}") from exc


@contextmanager
def needs_extra() -> Iterator[None]:
    """For imports of what `hatchway[kubernetes]` brings. Raises UsageError."""
    try:
        yield
    except ImportError as exc:
        raise UsageError(
            f"clusters need packages that are not installed: {exc.name}", hint="pip install 'hatchway[kubernetes]'"
        ) from exc


def make_way(target: Target, settings: Settings) -> Way:
    """No request is sent yet."""
    if isinstance(target, Local):
        return HomeWay(settings.engine_socket)
    return AddressWay(target) if isinstance(target, Address) else ClusterWay(target)


def choose_way(env: str | None, socket: Path | None) -> tuple[Way, Path]:
    """The way to `socket`, or to the target named `env`; and the cache of what was read before.

    By default where commands act: what HATCHWAY_ENV names, or `hatchway env use`. Raises NotFound, UsageError.
    """
    settings = Settings.from_environment(os.environ)
    cache_file = settings.home / "project-cache.db"
    if socket is not None:
        if env is not None:
            raise UsageError("a socket is of this machine: it has no other target")
        return HomeWay(socket), cache_file
    return make_way(targets.read(settings.targets_file).chosen(env, os.environ), settings), cache_file
