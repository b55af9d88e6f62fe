"""Which alerts to raise and to resolve: a pure function of a rule, facts, memory and time.

An alert is raised once and resolved once. It is resolved later than it would not be raised any more, so that what
hovers around a limit does not write a message each minute; and only by facts: what nobody knows leaves it as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

Kind = Literal["HighErrorRate", "RolloutFailed", "CrashLoop", "Drift"]
Severity = Literal["critical", "warning"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CALM_SHARE = 0.5  # of the limit: error rates below that resolve
CRASHES = 3  # of one replica, or of all and more than there are replicas, within CRASH_WINDOW_S
CRASHES_KEPT = 200
CRASH_WINDOW_S = 300.0
CALM_S = 120.0  # without a crash, before a crash loop counts as over
SHOWN_FIELDS = 5


@dataclass(frozen=True)
class Rule:
    """`monitoring.alerts`, but for the address."""

    error_rate: float  # a share of 1
    window_s: float
    min_requests: int


@dataclass(frozen=True)
class Traffic:
    """What was answered in the last `covered_s` seconds, which are at most the rule's window."""

    requests: int
    errors: int
    covered_s: float


@dataclass(frozen=True)
class Failure:
    """An update that was given up. `is_serving`: what was live before still answers."""

    revision: str
    message: str
    is_serving: bool


@dataclass(frozen=True)
class Facts:
    """What is known of one API now. None: nobody knows."""

    is_wanted: bool = True  # neither stopped nor on its way out
    traffic: Traffic | None = None
    is_updating: bool = False  # how that ends will be told
    failure: Failure | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)  # by replica; those of a failing update are left out
    loops: Sequence[str] = ()  # of those replicas: what is said of each that ends again and again
    drift: Mapping[str, str] | None = None  # field -> verdict


@dataclass(frozen=True)
class Alert:
    """One that is raised or resolved. Times are seconds since the epoch."""

    api: str
    kind: Kind | Literal["Test"]
    severity: Severity
    message: str
    started_at: float
    ended_at: float | None = None  # None: it goes on


@dataclass(frozen=True)
class Raised:
    """One that goes on. `subject`: what it is about; another subject is told as well."""

    since: float
    message: str
    severity: Severity
    subject: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What is known of one API from before."""

    raised: Mapping[Kind, Raised] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    crashes: tuple[tuple[float, str], ...] = ()  # when, and which replica; "" for one that is known to loop

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Memory:
        """Raises KeyError, TypeError or ValueError for what another release wrote."""
        raised = {
            kind: Raised(**{**one, "subject": tuple(one["subject"])})
            for kind, one in kept["raised"].items()
            if kind in KINDS
        }
        return cls(raised, dict(kept["restarts"]), tuple((float(at), str(id)) for at, id in kept["crashes"]))


@dataclass(frozen=True)
class Raise:
    """It is so."""

    message: str
    severity: Severity = "critical"
    subject: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolve:
    """It is not so (any more)."""

    message: str


Verdict = Raise | Resolve | None  # None: as it was


def decide(api: str, rule: Rule, facts: Facts, memory: Memory, now: float) -> tuple[Memory, list[Alert]]:
    """What to remember, and what to tell. `now` is in seconds since the epoch."""
    memory = replace(memory, restarts=dict(facts.restarts), crashes=_crashes(facts, memory, now))
    raised = dict(memory.raised)
    alerts = []
    for kind, verdict in _verdicts(rule, facts, memory, now):
        before = raised.get(kind)
        if isinstance(verdict, Raise) and (before is None or not set(verdict.subject) <= set(before.subject)):
            since = now if before is None else before.since
            raised[kind] = Raised(since, verdict.message, verdict.severity, verdict.subject)
            alerts.append(Alert(api, kind, verdict.severity, verdict.message, since))
        elif isinstance(verdict, Resolve) and before is not None:
            del raised[kind]
            alerts.append(Alert(api, kind, before.severity, verdict.message, before.since, now))
    return replace(memory, raised=raised), alerts


def _verdicts(rule: Rule, facts: Facts, memory: Memory, now: float) -> Iterator[tuple[Kind, Verdict]]:
    if not facts.is_wanted:
        yield from ((kind, Resolve("the API was stopped or deleted")) for kind in KINDS)
        return
    yield "HighErrorRate", _errors(rule, facts.traffic)
    yield "RolloutFailed", _rollout(facts)
    yield "CrashLoop", _crash_loop(facts, memory.crashes, now)
    yield "Drift", _drift(facts.drift)


def _errors(rule: Rule, traffic: Traffic | None) -> Verdict:
    if traffic is None:
        return None
    over = _span(rule.window_s)
    if not traffic.requests:
        return Resolve(f"no requests in the last {over}") if _covers(traffic, rule) else None
    share = traffic.errors / traffic.requests
    told = f"{_percent(share)} of {traffic.requests} requests in the last {over} were answered with 5xx"
    if share > rule.error_rate and traffic.requests >= rule.min_requests:
        return Raise(f"{told}; the limit is {_percent(rule.error_rate)}")
    if share <= rule.error_rate * CALM_SHARE and _covers(traffic, rule):
        return Resolve(told)
    return None


def _covers(traffic: Traffic, rule: Rule) -> bool:
    """Whether the whole window was seen. After a restart of the engine it was not: silence proves nothing then."""
    return traffic.covered_s >= rule.window_s * 0.9


def _rollout(facts: Facts) -> Verdict:
    failure = facts.failure
    if failure is not None:
        severity: Severity = "warning" if failure.is_serving else "critical"
        message = f"revision {failure.revision} failed: {failure.message}"
        return Raise(message, severity, (failure.revision,))
    return None if facts.is_updating else Resolve("the wanted revision is live")


def _crash_loop(facts: Facts, crashes: Sequence[tuple[float, str]], now: float) -> Verdict:
    if facts.loops:
        return Raise(facts.loops[0])
    if not crashes or crashes[-1][0] <= now - CALM_S:
        return Resolve(f"no replica ended in the last {_span(CALM_S)}")
    ends = Counter(id for _, id in crashes if id)
    # All that end once, as when the machine was restarted, are no loop.
    if ends and (max(ends.values()) >= CRASHES or ends.total() >= max(CRASHES, len(facts.restarts) + 1)):
        return Raise(f"replicas ended {ends.total()} times in the last {_span(CRASH_WINDOW_S)}")
    return None


def _crashes(facts: Facts, memory: Memory, now: float) -> tuple[tuple[float, str], ...]:
    """When replicas were started again, in the last CRASH_WINDOW_S. Of one that was not known, only what follows."""
    found = [(at, id) for at, id in memory.crashes if at > now - CRASH_WINDOW_S and not (id == "" and facts.loops)]
    for id, count in facts.restarts.items():
        found += [(now, id)] * min(CRASHES, max(0, count - memory.restarts.get(id, count)))
    if facts.loops:
        found.append((now, ""))  # one that waits before it is started again has not been calm
    return tuple(found[-CRASHES_KEPT:])


def _drift(drift: Mapping[str, str] | None) -> Verdict:
    if drift is None:
        return None
    drifted = tuple(sorted(name for name, verdict in drift.items() if verdict == "drift"))
    if drifted:
        more = f" and {len(drifted) - SHOWN_FIELDS} more" if len(drifted) > SHOWN_FIELDS else ""
        return Raise(
            f"live data differs from the baseline in {', '.join(drifted[:SHOWN_FIELDS])}{more}", "warning", drifted
        )
    # "too_few" says nothing; one field that is known to be as it was, or nothing left to judge, does.
    is_judged = any(verdict in ("ok", "disabled", "no_baseline") for verdict in drift.values()) or not drift
    return Resolve("no field differs from the baseline any more") if is_judged else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _span(seconds: float) -> str:
    """ "5 minutes"."""
    count, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")
    return f"{count:g} {unit}{'' if count == 1 else 's'}"
