"""How likely counts are by chance: exact, for slow requests may be few."""

from collections.abc import Callable
from math import exp, lgamma, log


def binomial_tail(hits: int, tries: int, share: float) -> float:
    """Return how likely `hits` or more of `tries` are if each hits with probability `share`."""
    if hits <= tries * share:
        return 1.0
    if share <= 0:
        return 0.0
    first = exp(_log_choose(tries, hits) + hits * log(share) + (tries - hits) * log(1 - share))
    odds = share / (1 - share)
    return _sum(first, hits, tries, lambda number: (tries - number) / (number + 1) * odds)


def hypergeometric_tail(hits: int, drawn: int, marked: int, all_of_them: int) -> float:
    """Return how likely `hits` or more marked ones are among `drawn` of all (Fisher's exact test, one-sided)."""
    if hits * all_of_them <= drawn * marked:
        return 1.0
    unmarked = all_of_them - marked
    first = exp(_log_choose(marked, hits) + _log_choose(unmarked, drawn - hits) - _log_choose(all_of_them, drawn))
    return _sum(
        first,
        hits,
        min(drawn, marked),
        lambda number: (marked - number) * (drawn - number) / ((number + 1) * (unmarked - drawn + number + 1)),
    )


def _sum(first: float, start: int, end: int, ratio: Callable[[int], float]) -> float:
    """Add up terms, each of which is a share of the one before, until they do not matter."""
    term = total = first
    for number in range(start, end):
        term *= ratio(number)
        total += term
        if term < total * 1e-12:
            break
    return min(total, 1.0)


def _log_choose(of: int, these: int) -> float:
    return lgamma(of + 1) - lgamma(these + 1) - lgamma(of - these + 1)
