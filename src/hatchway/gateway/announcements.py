"""Replicas of a cluster, as files for the activator of a gateway, which finds replicas by files.

Whether one of them is ready it asks them itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from hatchway.files import replace_text
from hatchway.gateway.activator.replicas import POD


class Announcements:
    """The files of one folder. Those that are there already are removed: nobody knows whether they are still true.

    Every replica answers for itself on `control_port`.
    """

    def __init__(self, folder: Path, control_port: int) -> None:
        self._folder = folder
        self._control_port = control_port
        self._addresses: dict[str, frozenset[str]] = {}  # by API
        for path in folder.glob(f"*{POD}"):
            path.unlink()

    def announce(self, replicas: Mapping[str, Iterable[str]]) -> None:
        """API -> addresses: these may be asked, and no others. Raises OSError."""
        for api in self._addresses.keys() | replicas.keys():
            self._set(api, frozenset(replicas.get(api, ())))

    def _set(self, api: str, now: frozenset[str]) -> None:
        before = self._addresses.get(api, frozenset())
        for address in before - now:
            self._path(api, address).unlink(missing_ok=True)
        for address in now - before:
            host = address.rpartition(":")[0]
            place = {"api": api, "data": address, "control": f"{host}:{self._control_port}"}
            replace_text(self._path(api, address), json.dumps(place))
        self._addresses[api] = now
        if not now:
            del self._addresses[api]

    def _path(self, api: str, address: str) -> Path:
        return self._folder / f"{hashlib.sha256(f'{api} {address}'.encode()).hexdigest()[:16]}{POD}"
