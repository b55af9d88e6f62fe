"""Which port a server takes: the one that was set, else the remembered one, else the default or the next free."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from hatchway.errors import GatewayError, StorageError
from hatchway.settings import DEFAULT_DASHBOARD_PORT, DEFAULT_GATEWAY_PORT

_TRIED_AFTER_DEFAULT = 100
_BACKLOG = 128


@dataclass(frozen=True)
class Purpose:
    """What a port is for: its default, and the variable that sets another one."""

    default: int
    variable: str


GATEWAY = Purpose(DEFAULT_GATEWAY_PORT, "HATCHWAY_GATEWAY_PORT")
DASHBOARD = Purpose(DEFAULT_DASHBOARD_PORT, "HATCHWAY_DASHBOARD_PORT")


def choose_port(host: str, setting: int | None, remembered: Path, purpose: Purpose = GATEWAY) -> int:
    """A port that can be bound now; what was chosen freely is written to `remembered`.

    Raises GatewayError when the port that was set is taken, or none is free.
    """
    if setting:
        if not is_free(host, setting):
            raise GatewayError(
                f"port {setting} on {host} is taken{_by_whom(setting)}",
                hint=f"end that process, or set {purpose.variable} to another port (0 = any free one)",
            )
        return setting
    port = _read(remembered)
    if port is None or not is_free(host, port):
        port = _any_free(host) if setting == 0 else _next_free(host, purpose)
    _write(remembered, port)
    return port


def ip_address(host: str) -> str:
    """The address Envoy is to bind. Raises GatewayError for a name: Envoy does not look names up here."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise GatewayError(
            f"HATCHWAY_HOST={host} is not an IP address", hint="use 127.0.0.1, 0.0.0.0 or an address of this machine"
        ) from None


def listen(host: str, setting: int | None, remembered: Path, purpose: Purpose) -> socket.socket:
    """A socket that listens on the port of `choose_port`. Raises GatewayError when somebody takes it meanwhile."""
    port = choose_port(host, setting, remembered, purpose)
    try:
        listener = _bound(host, port)
    except OSError as exc:
        raise GatewayError(f"cannot listen on {host}:{port}: {exc.strerror}", hint="try again") from exc
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def to_url(host: str, port: int) -> str:
    """Where a client on this machine reaches a server that listens there, without a slash at the end."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. Raises GatewayError when the address is not this machine's."""
    try:
        with _bound(host, port):
            return True
    except PermissionError as exc:
        raise GatewayError(f"port {port} needs more rights than this user has", hint="use a port above 1023") from exc
    except OSError as exc:
        if exc.errno is not None and exc.strerror and "assign requested address" in exc.strerror:
            raise GatewayError(f"{host} is not an address of this machine", hint="check HATCHWAY_HOST") from exc
        return False


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Envoy does: old connections do not matter
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe


def _any_free(host: str) -> int:
    with _bound(host, 0) as probe:
        return int(probe.getsockname()[1])


def _next_free(host: str, purpose: Purpose) -> int:
    for port in range(purpose.default, purpose.default + _TRIED_AFTER_DEFAULT):
        if is_free(host, port):
            return port
    raise GatewayError(
        f"no port from {purpose.default} to {purpose.default + _TRIED_AFTER_DEFAULT - 1} is free",
        hint=f"set {purpose.variable} to another port (0 = any free one)",
    )


def _by_whom(port: int) -> str:
    """ ", by NAME (pid N)" where the system tells us."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr[1:] == (port,) and found.pid:
                return f", by {psutil.Process(found.pid).name()} (pid {found.pid})"
    except (psutil.Error, OSError):
        pass
    return ""


def _read(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else None


def _write(path: Path, port: int) -> None:
    try:
        path.write_text(f"{port}\n")
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}") from exc
