"""The little statistics that triage needs, exact and without a library of a hundred megabytes.

All of it is textbook: Fisher's exact test by the hypergeometric distribution, Holm's
correction for many comparisons, Garwood's exact interval for a Poisson count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_ENOUGH = 1e-17
"""Terms that are smaller than this share of the sum change no digit of it."""


def fisher_greater(inside: int, inside_without: int, outside: int, outside_without: int) -> float:
    """How likely so many of ``inside`` or more are by chance, if both groups are alike.

    One-sided, for a table of two groups with and without something::

        inside    inside_without
        outside   outside_without
    """
    group = inside + inside_without
    others = outside + outside_without
    having = inside + outside
    if not group or not others or not having:
        return 1.0
    if inside * others <= outside * group:
        return 1.0  # not more frequent inside: the tail holds half of all and more
    whole = group + others
    log = _log_choose(group, inside) + _log_choose(others, outside) - _log_choose(whole, having)
    term = total = math.exp(log)
    for k in range(inside, min(group, having)):
        # Of one more inside there is one less outside.
        term *= (group - k) * (having - k) / ((k + 1) * (others - having + k + 1))
        total += term
        if term < total * _ENOUGH:
            break
    return min(total, 1.0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def holm(chances: Sequence[float]) -> list[float]:
    """Chances corrected for being many: that *any* of those below x is one of chance is below x."""
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    found = [1.0] * len(chances)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, chances[index] * (len(chances) - rank)))
        found[index] = least
    return found


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which means lies the one that gave ``count``, as sure as ``confidence`` says."""
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _solve(lambda mean: 1 - _poisson_cdf(count - 1, mean), tail, count)
    high = _solve(lambda mean: 1 - _poisson_cdf(count, mean), 1 - tail, count + 1)
    return low, high


def _solve(rising: Callable[[float], float], wanted: float, about: int) -> float:
    """Where a function that rises with the mean reaches ``wanted``; by halving."""
    low, high = 0.0, about + 10 * math.sqrt(about) + 20.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def _poisson_cdf(count: int, mean: float) -> float:
    """The chance of ``count`` or less; summed from the largest term downwards."""
    if count < 0:
        return 0.0
    if mean <= 0:
        return 1.0
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    if count >= mean:  # the tail above is the small one
        total, k, above = 0.0, count + 1, term * mean / (count + 1)
        while above > total * _ENOUGH and above > 0:
            total += above
            k += 1
            above *= mean / k
        return max(0.0, 1 - total)
    total, k = 0.0, count
    while k >= 0 and term > total * _ENOUGH:
        total += term
        term *= k / mean
        k -= 1
    return min(1.0, total)


def rate_is_higher(count: int, exposure: float, before: int, exposure_before: float) -> float:
    """How likely so many events or more are by chance, if the rate is the same as before.

    Given all events of both together, those of one part are binomial in its share of the time.
    """
    if exposure <= 0 or exposure_before <= 0:
        return 1.0
    return _binomial_tail(count, count + before, exposure / (exposure + exposure_before))


def ratio_interval(
    count: int, exposure: float, before: int, exposure_before: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Between which factors lies the rate, in rates of before (Clopper and Pearson's interval)."""
    total = count + before
    if exposure <= 0 or exposure_before <= 0 or not total:
        return 0.0, math.inf
    tail = (1 - confidence) / 2
    low = 0.0 if not count else _share(lambda p: _binomial_tail(count, total, p), tail)
    high = 1.0 if not before else _share(lambda p: _binomial_tail(count + 1, total, p), 1 - tail)
    scale = exposure_before / exposure
    return scale * low / (1 - low), scale * high / (1 - high) if high < 1 else math.inf


def _share(rising: Callable[[float], float], wanted: float) -> float:
    """Where a function that rises with a share of 0 to 1 reaches ``wanted``; by halving."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def _binomial_tail(count: int, total: int, share: float) -> float:
    """The chance of ``count`` or more of ``total``, each with the same share of 0 to 1."""
    if count <= 0:
        return 1.0
    if count > total or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    if count <= total * share:  # the tail below is the small one, seen from the other side
        return 1.0 - _binomial_tail(total - count + 1, total, 1 - share)
    log = _log_choose(total, count)
    log += count * math.log(share) + (total - count) * math.log1p(-share)
    term = found = math.exp(log)
    for k in range(count, total):
        term *= (total - k) / (k + 1) * share / (1 - share)
        found += term
        if term < found * _ENOUGH:
            break
    return min(found, 1.0)
