"""A recorded decision in one English sentence: what moved and by which figures, or why nothing did. Pure."""

from __future__ import annotations

import math

from hatchway.autoscaler.decision import Decision, Limit, Load, Rule


def explain(decision: Decision) -> str:
    """`3 -> 5 replicas: 9.4 in flight on average over 30 s, target 2`."""
    if decision.fixed_s is not None:
        return f"{_head(decision)}: {_fixed(decision, decision.fixed_s)}"
    if decision.current != decision.base == decision.replicas:
        bound = "min_replicas" if decision.base > decision.current else "max_replicas"
        return f"{_head(decision)}: {bound} is {decision.base} now"
    if decision.load is None:
        return f"{_head(decision)}: no figures of requests, so nothing moves"
    return f"{_head(decision)}: {_because(decision, decision.load)}"


def _head(decision: Decision) -> str:
    if decision.is_move:
        return f"{decision.current} -> {_replicas(decision.replicas)}"
    return f"stays at {decision.replicas}"


def _fixed(decision: Decision, fixed_s: float) -> str:
    told = f"set by hatchway scale for another {_span(fixed_s)}"
    if decision.load is None:
        return told
    return f"{told}; requests alone ask for {decision.would} ({_figures(decision, decision.load)})"


def _because(decision: Decision, load: Load) -> str:
    limit = decision.limits[-1] if decision.limits else None
    if decision.replicas == 0 or load.wanted == decision.base == 0:
        return _last_request(load) + (", and others wait for room" if decision.is_crowded and decision.is_move else "")
    if limit is None:
        return _figures(decision, load)
    clause = _clause(limit, load)
    if limit.rule in ("upscale_tolerance", "downscale_tolerance"):
        return f"{_figures(decision, load)}, which is {clause}"
    if decision.is_move:
        return f"{_figures(decision, load)}; {_wish(decision, load)}, but {clause}"
    return f"{_wish(decision, load)}, but {clause}"


def _figures(decision: Decision, load: Load) -> str:
    """The average that counts."""
    target = f"target {decision.target:g}"
    if decision.base == 0 and load.demand == load.in_flight:
        return f"{_number(load.in_flight)} {'waits' if load.in_flight == 1 else 'wait'}, {target}"
    if load.demand == load.average:
        return f"{_number(load.average)} in flight on average over {_span(decision.window_s)}, {target}"
    over = f"{_number(load.panic_average)} in flight on average over {_span(decision.panic_window_s)}"
    return f"{over} ({_number(load.average)} over {_span(decision.window_s)}), {target}"


def _last_request(load: Load) -> str:
    if load.idle_s is None:
        return "no request yet"
    return f"no request for {_span(load.idle_s)}" if load.idle_s > 0 else "a request came and went"


def _wish(decision: Decision, load: Load) -> str:
    """What the figures alone ask for."""
    if load.wanted > decision.base:
        return f"{load.wanted} {'is' if load.wanted == 1 else 'are'} wanted"
    return f"{load.wanted or 'none'} would do"


def _clause(limit: Limit, load: Load) -> str:
    """Why the number is not that."""
    share, span = f"{limit.setting * 100:g} %", _span(limit.setting)
    clauses: dict[Rule, str] = {
        "upscale_tolerance": f"within upscale_tolerance ({share}) above it",
        "downscale_tolerance": f"within downscale_tolerance ({share}) below it",
        "panic": f"nothing is taken away until a burst is {span} past",
        "window": _watched(limit, load),
        "upscale_stabilization_period": _held("upscale", "more", limit),
        "downscale_stabilization_period": _held("downscale", "less", limit),
        "tick": f"the last decision was less than {span} ago",
    }
    return clauses.get(limit.rule, f"{limit.rule} is {limit.setting:g}")


def _watched(limit: Limit, load: Load) -> str:
    if load.idle_s is not None and load.idle_s < limit.setting:
        return f"the last request came {_span(load.idle_s)} ago, within the window of {_span(limit.setting)}"
    return f"requests have not been watched for the window of {_span(limit.setting)} yet"


def _held(step: str, than: str, limit: Limit) -> str:
    """A period that lets nothing through has a time to wait; one that lets some through, what it goes by."""
    if not limit.wait_s:
        return f"{limit.after} {'was' if limit.after == 1 else 'were'} wanted {_span(_age_s(limit))} ago"
    return f"the {step} waits until there was {than} for {_span(limit.setting)} ({_span(limit.wait_s)} to go)"


def _age_s(limit: Limit) -> float:
    return 0.0 if limit.held_by is None else limit.held_by.age_s


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"


def _number(value: float) -> str:
    return "under 0.1" if 0 < value < 0.05 else f"{round(value, 1):g}" if value < 1e5 else f"{value:.0f}"


def _span(seconds: float) -> str:
    """`30 s`, `4 min 10 s`, `1 h 5 min`: whole seconds, rounded up, and the two largest units."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 10) / 10:g} s"
    left, parts = math.ceil(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
