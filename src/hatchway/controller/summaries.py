"""All APIs in a few words, followed: everything first, then what changed. Many changes at once are told as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from hatchway.controller.changes import Changes
from hatchway.errors import NotFound
from hatchway.spec.status import ApiStatus
from hatchway.spec.summary import ApiSummary, Summaries

SPACING_S = 0.25  # between two looks, however much changes


async def follow(
    changes: Changes,
    everything: Callable[[], Sequence[ApiStatus]],
    one: Callable[[str], ApiStatus],
    *,
    spacing_s: float = SPACING_S,
) -> AsyncIterator[Summaries]:
    """Never ends. `one` raises NotFound for an API that is gone."""
    known: dict[str, ApiSummary] = {}
    async for names in changes.watch_all(spacing_s):
        if names is None:
            known = {api.name: ApiSummary.of(api) for api in everything()}
            yield Summaries(is_all=True, apis=tuple(known.values()))
            continue
        news, gone = _look(names, one, known)
        if news or gone:
            yield Summaries(is_all=False, apis=tuple(news), gone=tuple(gone))


def _look(
    names: set[str], one: Callable[[str], ApiStatus], known: dict[str, ApiSummary]
) -> tuple[list[ApiSummary], list[str]]:
    """(those that differ from what is known, those that are gone); `known` is brought up to date."""
    news, gone = [], []
    for name in sorted(names):
        try:
            found = ApiSummary.of(one(name))
        except NotFound:
            if known.pop(name, None) is not None:
                gone.append(name)
            continue
        if known.get(name) != found:
            known[name] = found
            news.append(found)
    return news, gone
