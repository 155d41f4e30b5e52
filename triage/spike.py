"""A latency spike, found in the histogram alone; where there are no samples, in finished lines by the same rules."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log
from statistics import quantiles as cut_points
from typing import NamedTuple

from triage import histograms
from triage.model import Exemplar, Interval, Scrape, Window

#: The objective of the service, and a bound of its histogram, in seconds.
SLOW = 0.5

_WARM_UP = 2.0  # seconds from an instance's first requests, in which slow ones tell nothing
_GAP = 10.0  # seconds without a slow request that end a spike: of 20 requests a second, 3 in 100 may be slow
_STRETCH = 10.0  # seconds of which the run's quiet share of slow requests is taken
_QUIET = 0.001  # the least share that a run is thought to have anyway
_CLEAR = 6.0  # how much likelier a spike has to be than none, as a logarithm
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

    Of each group of slow requests without a long gap, it is the stretch that is likeliest to have many slow requests
    rather than as few as the run has when it is quiet.
    """
    warm = sorted(_warm(intervals), key=lambda each: each.end)
    quiet = _quiet_share(warm)
    high = max(5 * quiet, 20 * _QUIET)
    if high >= 1:
        return []
    found = []
    for group in _groups(warm):
        scores = [each.slow * log(high / quiet) - each.requests * (high - quiet) for each in group]
        first, last, score = _best(scores)
        spike = _spike(group[first : last + 1])
        if score >= _CLEAR and spike.slow >= _FEWEST and spike.slow > _SHARE * spike.requests:
            found.append(spike)
    return found


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


def _quiet_share(intervals: Sequence[Interval]) -> float:
    """Return the share of slow requests in the quietest quarter of the run."""
    stretches: dict[int, tuple[float, float]] = {}
    for each in intervals:
        slow, requests = stretches.get(int(each.end // _STRETCH), (0.0, 0.0))
        stretches[int(each.end // _STRETCH)] = slow + each.slow, requests + each.requests
    shares = [slow / requests for slow, requests in stretches.values()]
    lowest = cut_points(shares, n=4)[0] if len(shares) > 1 else min(shares, default=0.0)
    return max(lowest, _QUIET)


def _groups(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
    """Cut where no request was slow for long."""
    hot = [number for number, each in enumerate(intervals) if each.slow > 0]
    cuts = [after for before, after in pairwise(hot) if intervals[after].end - intervals[before].end > _GAP]
    return [intervals[start:end] for start, end in pairwise([*hot[:1], *cuts, len(intervals)])]


def _best(scores: Sequence[float]) -> tuple[int, int, float]:
    """Return the stretch with the highest sum: its first, its last, its sum."""
    best = (0, 0, scores[0])
    start, running = 0, 0.0
    for number, score in enumerate(scores):
        if running <= 0:
            start, running = number, 0.0
        running += score
        if running > best[2]:
            best = (start, number, running)
    return best
