"""How likely a statistic is to be this large by chance alone. Pure, in plain Python: SciPy would be 100 MB for this.

Sources: Kolmogorov's distribution with Stephens' correction for small samples: M. A. Stephens, "Use of the
Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables", J. R. Stat. Soc. B 32 (1970).
Chi-square and Student's t: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.4.6 and 26.7.1; the
incomplete beta function by its continued fraction, 26.5.8, evaluated by Lentz's method. Tests compare all with SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-300


def kolmogorov(scaled: float) -> float:
    """P(K > scaled) for Kolmogorov's distribution, that of sqrt(pairs) * D for large samples."""
    if scaled < 0.2:  # the series below converges slowly there; the true value is above 1 - 1e-11
        return 1.0
    total = 0.0
    for k in range(1, 101):
        term = math.exp(-2 * (k * scaled) ** 2)
        total += term if k % 2 else -term
        if term < 1e-16 * abs(total):
            break
    return min(1.0, max(0.0, 2 * total))


def chi_square(statistic: float, freedom: int) -> float:
    """P(X > statistic) for a chi-square variable with that many degrees of freedom, at least 1."""
    half = statistic / 2
    if half <= 0:
        return 1.0
    if freedom % 2:
        tail, power = math.erfc(math.sqrt(half)), 0.5
    else:
        tail, power = math.exp(-half), 1.0
    while power < freedom / 2:  # Q(x, f + 2) = Q(x, f) + (x/2)^(f/2) e^(-x/2) / Gamma(f/2 + 1)
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
        power += 1
    return min(1.0, tail)


def student(t: float, freedom: float) -> float:
    """P(|T| > t) for Student's t; with infinite freedom the normal distribution."""
    if t <= 0:
        return 1.0
    if math.isinf(freedom):
        return math.erfc(t / math.sqrt(2))
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def inverse(tail: Callable[[float], float], probability: float) -> float:
    """The statistic from which on a falling `tail` is at most `probability`; to six digits."""
    low, high = 0.0, 1.0
    while tail(high) > probability:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > probability else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x > 0)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x < (a + 1) / (a + b + 2):
        return math.exp(front) * _beta_fraction(x, a, b) / a
    return 1 - math.exp(front) * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1 / _not_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _not_zero(1 + even * d)
        c = _not_zero(1 + even / c)
        found *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _not_zero(1 + odd * d)
        c = _not_zero(1 + odd / c)
        found *= d * c
        if abs(d * c - 1) < 1e-12:
            break
    return found


def _not_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
