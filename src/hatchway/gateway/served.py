"""What Envoy counts of the requests it has answered: how it is told to, and how its figures are read. Pure.

Every request counts once, when it is over: by the API whose route took it, the revision of the replica that answered
last, and the status that the caller got. So answers of Envoy's own making count too, tries that were repeated do not
count twice, and none of it is lost when the engine or a replica dies. It is an access log that only adds up; it costs
Envoy about 1.5 us a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ORIGIN = "origin"  # of an endpoint, in its metadata
REVISION = "revision"  # beside it: the replica's, or
HELD = "activator"  # for the activator's endpoint, in place of a revision

# Upper bounds of the latency histogram in seconds. Envoy keeps two digits of a value: these fall between its own bins.
BOUNDS_S = tuple(
    digit * 10.0**exponent for exponent in range(-4, 3) for digit in (1, 1.5, 2, 3, 5, 7) if digit * 10**exponent <= 300
)
_ALL_S = 1e6  # 11 days: nothing is above it

_PREFIX = "served"
_TYPES = "type.googleapis.com/"
_TOOK = "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"
_MICRO = 1e6

# What to ask the admin interface for. Envoy writes a cluster's name into a statistic with "_" for ":".
FILTER = rf"^({_PREFIX}\.|cluster\.api_[^.]*\.upstream_rq_retry$)"
_ANSWERS = re.compile(rf"^{_PREFIX}\.requests\.api\.([^.]*)\.revision\.([^.]*)\.code\.(\d+): (\d+)$", re.M)
_TIMES = re.compile(rf"^{_PREFIX}\.microseconds\.api\.([^.:]*): (\d+)$", re.M)
_BUCKETS = re.compile(rf"^{_PREFIX}\.duration\.api\.([^.:]*): (B.*)$", re.M)
_RETRIES = re.compile(r"^cluster\.api_([^.]*)\.upstream_rq_retry: (\d+)$", re.M)
_CUMULATED = re.compile(r",(\d+)\)")


@dataclass(frozen=True)
class Tally:
    """All requests of one API that are over, since some moment."""

    answers: Mapping[tuple[str, int], int] = field(default_factory=dict)  # revision or "", status -> requests
    held: int = 0  # of them, by way of the activator
    retries: int = 0  # tries beyond the first
    microseconds: int = 0  # that all of them took, from the first byte of the request to the last of the answer
    buckets: tuple[int, ...] = ()  # how many took at most BOUNDS_S[i]; the last: all

    def plus(self, other: Tally) -> Tally:
        """Both. Buckets of another release, of which there are more or fewer, are left out."""
        answers = dict(other.answers)
        for key, count in self.answers.items():
            answers[key] = answers.get(key, 0) + count
        if len(self.buckets) == len(other.buckets):
            buckets = tuple(map(int.__add__, self.buckets, other.buckets))
        else:
            buckets = self.buckets if len(self.buckets) == len(BOUNDS_S) + 1 else other.buckets
        return Tally(
            answers,
            self.held + other.held,
            self.retries + other.retries,
            self.microseconds + other.microseconds,
            buckets,
        )

    def is_after(self, former: Tally) -> bool:
        """Whether this can be what `former` has grown to: nothing is less, retries aside (see Account)."""
        return (
            all(self.answers.get(key, 0) >= count for key, count in former.answers.items())
            and self.microseconds >= former.microseconds
        )

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def count(self, is_meant: Callable[[int], bool]) -> int:
        """Of the statuses that are meant."""
        return sum(count for (_, status), count in self.answers.items() if is_meant(status))


@dataclass(frozen=True)
class Served:
    """What one Envoy process has served since it started."""

    envoy: str  # which process: another one counts from 0 again
    by_api: Mapping[str, Tally]  # "": of no API


def counting_log() -> list[Json]:
    """The part of the listener that counts."""
    api = _tag("api", "%ROUTE_NAME%")
    revision = _tag("revision", f"%UPSTREAM_METADATA({ORIGIN}:{REVISION})%")
    code = _tag("code", "%RESPONSE_CODE%")
    return [
        {
            "name": "envoy.access_loggers.stats",
            "typed_config": {
                "@type": _TYPES + "envoy.extensions.access_loggers.stats.v3.Config",
                "stat_prefix": _PREFIX,
                "counters": [
                    {"stat": {"name": "requests", "tags": [api, revision, code]}, "value_fixed": "1"},
                    {"stat": {"name": "microseconds", "tags": [api]}, "value_format": _TOOK},
                ],
                "histograms": [
                    {"stat": {"name": "duration", "tags": [api]}, "unit": "Microseconds", "value_format": _TOOK}
                ],
            },
        }
    ]


def stats_config() -> Json:
    """The part of the bootstrap that says into which buckets."""
    bounds = [round(bound * _MICRO) for bound in (*BOUNDS_S, _ALL_S)]
    return {"histogram_bucket_settings": [{"match": {"prefix": f"{_PREFIX}.duration"}, "buckets": bounds}]}


def read_served(text: str) -> dict[str, Tally]:
    """API -> its requests, "" for those that no API's route took, from Envoy's statistics as text."""
    answers: dict[str, dict[tuple[str, int], int]] = {}
    held: dict[str, int] = {}
    for api, revision, status, count in _ANSWERS.findall(text):
        if revision == HELD:
            held[api] = held.get(api, 0) + int(count)
        key = ("" if revision == HELD else revision, int(status))
        of_api = answers.setdefault(api, {})
        of_api[key] = of_api.get(key, 0) + int(count)
    times = {api: int(count) for api, count in _TIMES.findall(text)}
    retries = {api: int(count) for api, count in _RETRIES.findall(text)}
    buckets = {api: tuple(map(int, _CUMULATED.findall(found))) for api, found in _BUCKETS.findall(text)}
    return {
        api: Tally(answers.get(api, {}), held.get(api, 0), retries.get(api, 0), times.get(api, 0), buckets.get(api, ()))
        for api in answers.keys() | retries.keys()
    }


def _tag(name: str, format_: str) -> Json:
    return {"name": name, "value_format": format_}
