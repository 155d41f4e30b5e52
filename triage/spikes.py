"""Detection of latency spikes in histograms or, without samples, in finished requests.

A spike is a time range with clearly more slow requests than the rest of the run, found by Kulldorff's scan statistic.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

from triage import histograms
from triage.models import Exemplar, Interval, Scrape, Window

#: The latency objective of the service in seconds, which is also a bucket bound of its histogram.
SLOW = 0.5

_WARM_UP = 2.0  # seconds after an instance's first request in which slow requests are ignored
_MIN_LIKELIHOOD_GAIN = 10.0  # log-likelihood; high, because a run has many time ranges to choose from
_MIN_SLOW = 3  # slow requests
_MIN_SHARE = 0.01  # slow requests of all in the spike; less does not change p99
_NEAR = 4.0  # seconds within which slow requests belong to the same spike, however few there are
_MAX_COINCIDENCES = 0.5  # ... unless more slow requests than this are normal in that time
_GAP = 10.0  # seconds without a slow request that end a spike
_MIN_BACKGROUND = 0.0002  # assumed share of slow requests of any service
_INITIAL_RAISED = 0.02  # initial estimate of the share within a spike


class Spike(NamedTuple):
    """A time range with clearly more slow requests than the rest of the run.

    `start` is the arrival of the first slow request if an exemplar or a line has it, else the previous scrape.
    `exemplars` are those of slow requests in the range, the earliest first.
    """

    start: float
    end: float
    slow: int
    requests: int
    exemplars: tuple[Exemplar, ...] = ()

    @property
    def window(self) -> Window:
        """The time range."""
        return Window(self.start, self.end)


def find_spike(scrapes: Iterable[Scrape], slow: float = SLOW) -> Spike | None:
    """Return the largest spike of a service, over all its instances; `slow` is in seconds."""
    increases = histograms.increases(scrapes)
    spike = largest([histograms.interval(each, slow) for each in increases])
    if spike is None:
        return None
    exemplars = {
        exemplar
        for each in increases
        if spike.start <= each.end <= spike.end
        for _, exemplar in each.exemplars
        if exemplar.value > slow
    }
    return spike._replace(exemplars=tuple(sorted(exemplars, key=lambda each: each.arrived)))


def largest(intervals: Iterable[Interval]) -> Spike | None:
    """Return the spike with the most slow requests."""
    return max(find_spikes(intervals), key=lambda each: each.slow, default=None)


def find_spikes(intervals: Iterable[Interval]) -> list[Spike]:
    """Return all spikes in order.

    Slow requests are grouped by time. Each group is narrowed to the range whose share of slow requests differs most
    clearly from that of the rest of the run.
    """
    warm = _without_warm_up(intervals)
    groups = sorted(_groups(warm), key=lambda group: -sum(each.slow for each in group))
    rest, background = _total(warm), max(_quantile_of_shares(warm, 0.25), _MIN_BACKGROUND)
    always_slow = _always_slow(warm)
    spikes = []
    for group in groups:
        narrowed = _narrow(group, rest, background, always_slow=always_slow)
        within = _total(narrowed)
        gain = _likelihood_gain(within, rest.without(within))
        if gain >= _MIN_LIKELIHOOD_GAIN and within.slow >= _MIN_SLOW and within.slow > _MIN_SHARE * within.requests:
            spikes.append(_spike(narrowed))
            rest = rest.without(within)
    return sorted(spikes)


class _Share(NamedTuple):
    slow: float
    requests: float

    @property
    def share(self) -> float:
        return self.slow / self.requests if self.requests else 0.0

    @property
    def expected(self) -> float:
        """The share to expect of further requests: above zero even if none was slow."""
        return (self.slow + 0.5) / (self.requests + 1.0)

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood, without the terms that cancel out in a comparison."""
        return self.slow * log(self.share) if self.slow else 0.0

    def without(self, other: "_Share") -> "_Share":
        return _Share(self.slow - other.slow, self.requests - other.requests)


def _total(intervals: Iterable[Interval]) -> _Share:
    slow, requests = 0.0, 0.0
    for each in intervals:
        slow, requests = slow + each.slow, requests + each.requests
    return _Share(slow, requests)


def _likelihood_gain(within: _Share, outside: _Share) -> float:
    """Return the gain in log-likelihood of two separate shares over a common one."""
    if within.share <= outside.share:
        return 0.0
    common = _Share(within.slow + outside.slow, within.requests + outside.requests)
    return within.log_likelihood + outside.log_likelihood - common.log_likelihood


def _quantile_of_shares(intervals: Iterable[Interval], quantile: float) -> float:
    """Return a quantile of the shares of slow requests in each `_GAP` of the run."""
    buckets: dict[int, list[Interval]] = {}
    for each in intervals:
        buckets.setdefault(int(each.end // _GAP), []).append(each)
    shares = sorted(_total(each).share for each in buckets.values())
    return shares[int(len(shares) * quantile)] if shares else 0.0


def _always_slow(intervals: Sequence[Interval]) -> bool:
    """Return whether some requests are slow nearly all the time, so that near ones need not belong to a spike."""
    seconds = max((each.end for each in intervals), default=0.0) - min((each.start for each in intervals), default=0.0)
    rate = _total(intervals).requests / max(seconds, 1.0)
    return _quantile_of_shares(intervals, 0.05) * rate * _NEAR > _MAX_COINCIDENCES


def _without_warm_up(intervals: Iterable[Interval]) -> list[Interval]:
    warm_from: dict[str, float] = {}
    return [
        each
        for each in sorted(intervals, key=lambda each: each.end)
        if each.requests > 0 and each.end > warm_from.setdefault(each.instance, each.end + _WARM_UP)
    ]


def _groups(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
    """Split the run wherever no request was slow for `_GAP` seconds."""
    hot = [index for index, each in enumerate(intervals) if each.slow > 0]
    cuts = [after for before, after in pairwise(hot) if intervals[after].end - intervals[before].end > _GAP]
    return [intervals[start:end] for start, end in pairwise([*hot[:1], *cuts, len(intervals)])]


def _narrow(group: Sequence[Interval], rest: _Share, background: float, *, always_slow: bool) -> Sequence[Interval]:
    """Return the part of a group with a raised share of slow requests, with slow requests that are near it."""
    low, high = background, max(3 * background, _INITIAL_RAISED)
    start, end = 0, len(group)
    while high > low:
        scores = [each.slow * log(high / low) - each.requests * (high - low) for each in group[start:end]]
        first, last = _maximum_subarray(scores)
        if (first, last) == (0, end - start - 1):
            break
        start, end = start + first, start + last + 1
        within = _total(group[start:end])
        low = background if always_slow else max(rest.without(within).expected, background)
        high = within.share
    if always_slow:
        return group[start:end]
    hot = [index for index, each in enumerate(group) if each.slow]
    while before := [index for index in hot if index < start and group[start].end - group[index].end <= _NEAR]:
        start = before[0]
    while after := [index for index in hot if index >= end and group[index].end - group[end - 1].end <= _NEAR]:
        end = after[-1] + 1
    return group[start:end]


def _maximum_subarray(scores: Sequence[float]) -> tuple[int, int]:
    """Return the first and last index of the range with the highest sum (Kadane's algorithm)."""
    best, best_sum = (0, 0), scores[0]
    start, running = 0, 0.0
    for index, score in enumerate(scores):
        if running <= 0:
            start, running = index, 0.0
        running += score
        if running > best_sum:
            best, best_sum = (start, index), running
    return best


def _spike(intervals: Sequence[Interval]) -> Spike:
    arrived = [each.arrived for each in intervals if each.slow and each.arrived is not None]
    start = min(arrived) if arrived else min(each.start for each in intervals)
    total = _total(intervals)
    return Spike(start, max(each.end for each in intervals if each.slow), round(total.slow), round(total.requests))
