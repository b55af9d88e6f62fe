"""Asking the replicas of a backend for the requests of one id."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hatchway.backends import SeenRequest, Sightings, control
from hatchway.contract import FoundRequests


@dataclass(frozen=True)
class Asked:
    """A replica, and where it answers."""

    api: str
    revision: str
    replica: str
    control_socket: str


async def find_request(replicas: Sequence[Asked], request_id: str) -> Sightings:
    """What those that answer know."""
    found = await asyncio.gather(*(_find(replica.control_socket, request_id) for replica in replicas))
    seen = [
        SeenRequest(replica.api, replica.revision, replica.replica, record)
        for replica, one in zip(replicas, found, strict=True)
        for record in one.requests
    ]
    return Sightings(seen, max((one.since for one in found if one.since is not None), default=None))


async def _find(socket: str, request_id: str) -> FoundRequests:
    try:
        return await control.find_request(socket, request_id)
    except control.Unanswered:  # it starts or ends
        return FoundRequests([], None)
