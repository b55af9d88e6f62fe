"""Who is held, who must be refused, and whose turn it is. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST_DELAY_S, LONGEST_DELAY_S = 0.05, 1.0


class Waiting(Generic[T]):
    """The held requests of each API, oldest first."""

    def __init__(self) -> None:
        self._held: dict[str, dict[T, float]] = {}  # API -> request -> when it may be sent
        self._api_of: dict[T, str] = {}

    def enter(self, api: str, request: T, max_held: int) -> bool:
        """False when as many are held as may be."""
        if len(self._held.get(api, ())) >= max_held:
            return False
        self.put_back(api, request, 0.0)
        return True

    def put_back(self, api: str, request: T, not_before: float) -> None:
        """One that was let in before and could not be handed over. It is not refused now."""
        self._held.setdefault(api, {})[request] = not_before
        self._api_of[request] = api

    def leave(self, request: T) -> bool:
        """It is held no longer. False if it was not."""
        api = self._api_of.pop(request, None)
        if api is None:
            return False
        del self._held[api][request]
        if not self._held[api]:
            del self._held[api]
        return True

    def of(self, api: str) -> list[T]:
        return list(self._held.get(api, ()))

    def due(self, api: str, now: float) -> list[T]:
        """Those that may be sent."""
        return [request for request, not_before in self._held.get(api, {}).items() if not_before <= now]

    def counts(self) -> dict[str, int]:
        """APIs for which something is held -> how many requests."""
        return {api: len(held) for api, held in self._held.items()}


def delay_s(n_refused: int) -> float:
    """How long a request stays away from replicas that have refused it so often: 0.05, 0.1, 0.2, ... 1 s."""
    return min(FIRST_DELAY_S * 2.0 ** min(n_refused - 1, 10), LONGEST_DELAY_S)


def least_busy(addresses: Iterable[str], busy: Mapping[str, int]) -> str:
    """The replica to which the fewest requests were sent that are not answered yet."""
    return min(addresses, key=lambda address: busy.get(address, 0))
