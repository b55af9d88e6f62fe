"""Pods that have an address, as files for the activator, which finds replicas whether or not the operator lives.

Whether one of them is ready it asks them itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hatchway.backends import Replica
from hatchway.files import replace_text
from hatchway.gateway.activator.replicas import POD
from hatchway.kubernetes.names import CONTROL_PORT


class Announcements:
    """The files of one folder. All of a former operator are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._addresses: dict[str, dict[str, str]] = {}  # API -> pod -> address
        for path in folder.glob(f"*{POD}"):
            path.unlink()

    def set(self, api: str, replicas: Sequence[Replica]) -> None:
        """These are the replicas of an API now. Raises OSError."""
        before = self._addresses.get(api, {})
        now = {replica.id: replica.address for replica in replicas if replica.address}
        for name in before.keys() - now.keys():
            self._path(name).unlink(missing_ok=True)
        for name, address in now.items():
            if before.get(name) != address:
                host = address.rpartition(":")[0]
                place = {"api": api, "data": address, "control": f"{host}:{CONTROL_PORT}"}
                replace_text(self._path(name), json.dumps(place))
        self._addresses[api] = now
        if not now:
            del self._addresses[api]

    def _path(self, pod: str) -> Path:
        return self._folder / f"{pod}{POD}"
