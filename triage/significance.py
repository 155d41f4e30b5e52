"""Exact tail probabilities, because slow requests may be few."""

from collections.abc import Callable
from math import exp, lgamma, log


def binomial_tail(hits: int, trials: int, probability: float) -> float:
    """Return the probability of at least `hits` in `trials`; 1 if that is no more than expected."""
    if hits <= trials * probability:
        return 1.0
    if probability <= 0:
        return 0.0
    first = exp(_log_choose(trials, hits) + hits * log(probability) + (trials - hits) * log(1 - probability))
    odds = probability / (1 - probability)
    return _sum(first, hits, trials, lambda number: (trials - number) / (number + 1) * odds)


def hypergeometric_tail(hits: int, drawn: int, marked: int, total: int) -> float:
    """Return the probability of at least `hits` marked ones among `drawn` (Fisher's exact test, one-sided)."""
    if hits * total <= drawn * marked:
        return 1.0
    unmarked = total - marked
    first = exp(_log_choose(marked, hits) + _log_choose(unmarked, drawn - hits) - _log_choose(total, drawn))
    return _sum(
        first,
        hits,
        min(drawn, marked),
        lambda number: (marked - number) * (drawn - number) / ((number + 1) * (unmarked - drawn + number + 1)),
    )


def _sum(first: float, start: int, end: int, ratio: Callable[[int], float]) -> float:
    """Sum the terms of a distribution, each given by its ratio to the one before, until they are negligible."""
    term = total = first
    for number in range(start, end):
        term *= ratio(number)
        total += term
        if term < total * 1e-12:
            break
    return min(total, 1.0)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
