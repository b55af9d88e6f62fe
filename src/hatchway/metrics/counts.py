"""The counts of all APIs: read from Envoy, carried on over its restarts, kept on the disk for when both die at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from hatchway.errors import StorageError
from hatchway.gateway.served import Served, Tally
from hatchway.metrics.account import NOTHING, Account

log = logging.getLogger(__name__)


class Facts(Protocol):
    """Where small facts are kept."""

    def remember_all(self, facts: Mapping[str, str]) -> None:
        """Raises StorageError."""
        ...

    def recall(self, key: str) -> str | None: ...


class Counts:
    """By API; "" stands for requests that no API's route took. `served` asks the Envoy that runs now."""

    def __init__(self, served: Callable[[], Awaitable[Served]], facts: Facts) -> None:
        self._served = served
        self._facts = facts
        self._accounts: dict[str, Account] = {}
        self._totals: dict[str, Tally] = {}
        self._taken_up: dict[str, Tally] = {}
        self._unsaved: set[str] = set()

    def restore(self, apis: Iterable[str]) -> None:
        """Take up what a former engine kept of these."""
        for api in ("", *apis):
            self._account(api)

    async def look(self) -> Mapping[str, Tally]:
        """All counts as of now. Raises GatewayError; then they are as they were."""
        self.take(await self._served())
        return self._totals

    def take(self, served: Served) -> None:
        """An Envoy has served this much."""
        for api, tally in served.by_api.items():
            account = self._account(api)
            if account.envoy != served.envoy or account.last != tally:
                self._put(api, account.seen(served.envoy, tally))
                self._unsaved.add(api)

    def totals(self) -> Mapping[str, Tally]:
        """As of the last look."""
        return self._totals

    def taken_up(self, api: str) -> Tally:
        """What a former engine had kept of it: the total before there was one."""
        return self._taken_up.get(api, NOTHING)

    def save(self) -> None:
        """What changed since the last time."""
        try:
            self._facts.remember_all({_key(api): self._accounts[api].to_json() for api in self._unsaved})
        except StorageError as exc:
            log.warning("the counts of requests cannot be saved: %s", exc)
            return
        self._unsaved.clear()

    def _account(self, api: str) -> Account:
        if api not in self._accounts:
            kept = Account()
            with suppress(ValueError, KeyError, TypeError):  # written by another release
                kept = Account.from_json(self._facts.recall(_key(api)) or "")
            self._put(api, kept)
            self._taken_up[api] = kept.total()
        return self._accounts[api]

    def _put(self, api: str, account: Account) -> None:
        self._accounts[api] = account
        if (total := account.total()) != NOTHING:
            self._totals[api] = total


def _key(api: str) -> str:
    return f"served:{api}"
