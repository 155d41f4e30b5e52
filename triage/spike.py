"""A latency spike, found in the histogram alone; where there are no samples, in finished lines by the same rules."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage import histograms, scan
from triage.model import Exemplar, Interval, Scrape, Window

#: The objective of the service, and a bound of its histogram, in seconds.
SLOW = 0.5

_WARM_UP = 2.0  # seconds from an instance's first requests, in which slow ones tell nothing
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
    groups = sorted(scan.groups(warm), key=lambda group: -sum(each.slow for each in group))
    rest, quiet = scan.add(warm), scan.quietest(warm)
    found = []
    for group in groups:
        stretch = scan.narrowed(group, rest, quiet)
        within = scan.add(stretch)
        likelier = scan.likelier(within, scan.less(rest, within))
        if likelier >= _CLEAR and within.slow >= _FEWEST and within.slow > _SHARE * within.requests:
            found.append(_spike(stretch))
            rest = scan.less(rest, within)
    return sorted(found)


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
