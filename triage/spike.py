"""A latency spike, found in the histogram alone; where there are no samples, in finished lines by the same rules."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

from triage import histograms
from triage.model import Exemplar, Interval, Scrape, Window

#: The objective of the service, and a bound of its histogram, in seconds.
SLOW = 0.5

_WARM_UP = 2.0  # seconds from an instance's first requests, in which slow ones tell nothing
_NEAR = 4.0  # seconds within which slow requests belong together, however few they are
_GAP = 10.0  # seconds without a slow request that end a spike: of 20 requests a second, 3 in 100 may be slow
_LEAST = 0.0002  # the share that a run is thought to have anyway
_CLEAR = 10.0  # how much likelier a spike has to be than none, as a logarithm: a run has many stretches to choose from
_FEWEST = 3  # slow requests in all
_SHARE = 0.01  # of the spike's requests, that p99 moves


class Spike(NamedTuple):
    """A stretch of time in which clearly more requests were slow than in the rest of the run.

    `start` is the arrival of its first slow request if an exemplar or a line tells it, else of the scrape before.
    `exemplars` are the slow requests that the histogram named meanwhile, the earliest first.
    """

    start: float
    end: float
    slow: int
    requests: int
    exemplars: tuple[Exemplar, ...] = ()

    @property
    def window(self) -> Window:
        """When it was."""
        return Window(self.start, self.end)


class _Share(NamedTuple):
    slow: float
    requests: float

    @property
    def share(self) -> float:
        return self.slow / self.requests if self.requests else 0.0

    @property
    def quiet(self) -> float:
        """The share to be expected of requests like these: that none was slow does not mean that none will."""
        return (self.slow + 0.5) / (self.requests + 1.0)

    @property
    def likelihood(self) -> float:
        return self.slow * log(self.share) if self.slow else 0.0


def find_spike(scrapes: Iterable[Scrape], slow: float = SLOW) -> Spike | None:
    """Return the largest spike that the scrapes of one service show, whatever its number of instances, or None."""
    increases = histograms.increases(scrapes)
    spike = largest([histograms.interval(each, slow) for each in increases])
    if spike is None:
        return None
    named = {
        exemplar
        for each in increases
        if spike.start <= each.end <= spike.end
        for _, exemplar in each.exemplars
        if exemplar.value > slow
    }
    return spike._replace(exemplars=tuple(sorted(named, key=lambda each: each.arrived)))


def largest(intervals: Iterable[Interval]) -> Spike | None:
    """Return the largest of all spikes."""
    return max(spikes(intervals), key=lambda each: each.slow, default=None)


def spikes(intervals: Iterable[Interval]) -> list[Spike]:
    """Return all spikes in order.

    Of each group of slow requests without a long gap, it is the stretch that is likeliest to have its own share of slow
    requests rather than that of the rest of the run.
    """
    warm = _warm(intervals)
    groups = sorted(_groups(warm), key=lambda group: -sum(each.slow for each in group))
    rest, quiet = _add(warm), _quietest(warm)
    found = []
    for group in groups:
        stretch = _stretch(group, rest, quiet)
        within = _add(stretch)
        likelier = _likelier(within, _less(rest, within))
        if likelier >= _CLEAR and within.slow >= _FEWEST and within.slow > _SHARE * within.requests:
            found.append(_spike(stretch))
            rest = _less(rest, within)
    return sorted(found)


def _stretch(group: Sequence[Interval], rest: _Share, quiet: float) -> Sequence[Interval]:
    """Narrow a group down to where its slow requests are more than the rest has; what is near belongs to it."""
    low, high = quiet, max(3 * quiet, 2 * _SHARE)
    start, end = 0, len(group)
    while high > low:
        scores = [each.slow * log(high / low) - each.requests * (high - low) for each in group[start:end]]
        first, last = _best(scores)
        if (first, last) == (0, end - start - 1):
            break
        start, end = start + first, start + last + 1
        within = _add(group[start:end])
        low, high = max(_less(rest, within).quiet, quiet), within.share
    hot = [place for place, each in enumerate(group) if each.slow]
    while before := [place for place in hot if place < start and group[start].end - group[place].end <= _NEAR]:
        start = before[0]
    while after := [place for place in hot if place >= end and group[place].end - group[end - 1].end <= _NEAR]:
        end = after[-1] + 1
    return group[start:end]


def _likelier(within: _Share, outside: _Share) -> float:
    """Return how much likelier two shares are than one, as a logarithm (Kulldorff's scan statistic)."""
    both = _Share(within.slow + outside.slow, within.requests + outside.requests)
    if within.share <= outside.share:
        return 0.0
    return within.likelihood + outside.likelihood - both.likelihood


def _quietest(intervals: Iterable[Interval]) -> float:
    """Return the share of slow requests in the quietest quarter of the run."""
    stretches: dict[int, list[Interval]] = {}
    for each in intervals:
        stretches.setdefault(int(each.end // _GAP), []).append(each)
    shares = sorted(_add(each).share for each in stretches.values())
    return max([*shares[len(shares) // 4 :][:1], _LEAST])


def _add(intervals: Iterable[Interval]) -> _Share:
    slow, requests = 0.0, 0.0
    for each in intervals:
        slow, requests = slow + each.slow, requests + each.requests
    return _Share(slow, requests)


def _less(all_of_them: _Share, within: _Share) -> _Share:
    return _Share(all_of_them.slow - within.slow, all_of_them.requests - within.requests)


def _spike(within: Sequence[Interval]) -> Spike:
    arrived = [each.arrived for each in within if each.slow and each.arrived is not None]
    start = min(arrived) if arrived else min(each.start for each in within)
    slow, requests = round(sum(each.slow for each in within)), round(sum(each.requests for each in within))
    return Spike(start, max(each.end for each in within if each.slow), slow, requests)


def _warm(intervals: Iterable[Interval]) -> list[Interval]:
    """Take out what every instance did in its first seconds."""
    began: dict[str, float] = {}
    warm = []
    for each in sorted(intervals, key=lambda each: each.end):
        if each.requests > 0:
            warm_from = began.setdefault(each.instance, each.end + _WARM_UP)
            if each.end > warm_from:
                warm.append(each)
    return warm


def _groups(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
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
