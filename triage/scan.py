"""Where slow requests are more than elsewhere: the arithmetic of it."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

from triage.model import Interval

_NEAR = 4.0  # seconds within which slow requests belong together, however few they are
_GAP = 10.0  # seconds without a slow request that end a spike: of 20 requests a second, 3 in 100 may be slow
_LEAST = 0.0002  # the share that a run is thought to have anyway
_RAISED = 0.02  # the share to begin with, where a group is narrowed down


class Share(NamedTuple):
    """How many requests there were, and how many of them were slow."""

    slow: float
    requests: float

    @property
    def share(self) -> float:
        """The share itself."""
        return self.slow / self.requests if self.requests else 0.0

    @property
    def quiet(self) -> float:
        """The share to be expected of requests like these: that none was slow does not mean that none will."""
        return (self.slow + 0.5) / (self.requests + 1.0)

    @property
    def likelihood(self) -> float:
        """How likely it is by itself, as a logarithm, but for what all shares of these requests have in common."""
        return self.slow * log(self.share) if self.slow else 0.0


def narrowed(group: Sequence[Interval], rest: Share, quiet: float) -> Sequence[Interval]:
    """Narrow a group down to where its slow requests are more than the rest has; what is near belongs to it."""
    low, high = quiet, max(3 * quiet, _RAISED)
    start, end = 0, len(group)
    while high > low:
        scores = [each.slow * log(high / low) - each.requests * (high - low) for each in group[start:end]]
        first, last = _best(scores)
        if (first, last) == (0, end - start - 1):
            break
        start, end = start + first, start + last + 1
        within = add(group[start:end])
        low, high = max(less(rest, within).quiet, quiet), within.share
    hot = [place for place, each in enumerate(group) if each.slow]
    while before := [place for place in hot if place < start and group[start].end - group[place].end <= _NEAR]:
        start = before[0]
    while after := [place for place in hot if place >= end and group[place].end - group[end - 1].end <= _NEAR]:
        end = after[-1] + 1
    return group[start:end]


def likelier(within: Share, outside: Share) -> float:
    """Return how much likelier two shares are than one, as a logarithm (Kulldorff's scan statistic)."""
    both = Share(within.slow + outside.slow, within.requests + outside.requests)
    if within.share <= outside.share:
        return 0.0
    return within.likelihood + outside.likelihood - both.likelihood


def quietest(intervals: Iterable[Interval]) -> float:
    """Return the share of slow requests in the quietest quarter of the run."""
    stretches: dict[int, list[Interval]] = {}
    for each in intervals:
        stretches.setdefault(int(each.end // _GAP), []).append(each)
    shares = sorted(add(each).share for each in stretches.values())
    return max([*shares[len(shares) // 4 :][:1], _LEAST])


def add(intervals: Iterable[Interval]) -> Share:
    """Return the requests of all intervals."""
    slow, requests = 0.0, 0.0
    for each in intervals:
        slow, requests = slow + each.slow, requests + each.requests
    return Share(slow, requests)


def less(all_of_them: Share, within: Share) -> Share:
    """Return the requests outside of a stretch."""
    return Share(all_of_them.slow - within.slow, all_of_them.requests - within.requests)


def groups(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
    """Cut where no request was slow for long."""
    hot = [number for number, each in enumerate(intervals) if each.slow > 0]
    cuts = [after for before, after in pairwise(hot) if intervals[after].end - intervals[before].end > _GAP]
    return [intervals[start:end] for start, end in pairwise([*hot[:1], *cuts, len(intervals)])]


def _best(scores: Sequence[float]) -> tuple[int, int]:
    """Return the first and the last of the stretch with the highest sum."""
    best, most = (0, 0), scores[0]
    start, running = 0, 0.0
    for number, score in enumerate(scores):
        if running <= 0:
            start, running = number, 0.0
        running += score
        if running > most:
            best, most = (start, number), running
    return best
