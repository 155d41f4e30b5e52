"""Changes of a histogram between two scrapes: counts, counter resets, new exemplars and quantiles."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from triage.models import Exemplar, Histogram, Interval, Scrape, Series, Window

_EMPTY = Histogram({})


class Increase(NamedTuple):
    """The observations of one instance between two scrapes; `reset`: its counters restarted from zero in between."""

    start: float
    end: float
    instance: str
    series: Mapping[Series, Mapping[float, float]]
    exemplars: tuple[tuple[float, Exemplar], ...]
    reset: bool


def increases(scrapes: Iterable[Scrape]) -> list[Increase]:
    """Return the increase between consecutive scrapes of each instance, in order.

    A new series starts at zero. If any counter is lower than before or missing, all have restarted from zero.
    """
    before: dict[str, Scrape] = {}
    found = []
    for scrape in sorted(scrapes, key=lambda each: each.at):
        last = before.get(scrape.instance)
        before[scrape.instance] = scrape
        if last is not None:
            found.append(_increase(last, scrape))
    return found


def _increase(last: Scrape, scrape: Scrape) -> Increase:
    reset = is_reset(last, scrape)
    known = {} if reset else last.series
    changed = {
        series: {bound: count - _of(known, series).buckets.get(bound, 0.0) for bound, count in now.buckets.items()}
        for series, now in scrape.series.items()
    }
    exemplars = tuple(
        (bound, exemplar)
        for series, now in scrape.series.items()
        for bound, exemplar in now.exemplars.items()
        if exemplar != _of(known, series).exemplars.get(bound)
    )
    return Increase(last.at, scrape.at, scrape.instance, changed, exemplars, reset)


def is_reset(last: Scrape, scrape: Scrape) -> bool:
    """Return whether any counter is lower than before, because a new process has started."""
    return any(
        _of(scrape.series, series).buckets.get(bound, 0.0) < count
        for series, histogram in last.series.items()
        for bound, count in histogram.buckets.items()
    )


def _of(series: Mapping[Series, Histogram], name: Series) -> Histogram:
    return series.get(name, _EMPTY)


def total(increase: Increase) -> dict[float, float]:
    """Return the increase by bucket, summed over all series."""
    summed: dict[float, float] = {}
    for buckets in increase.series.values():
        for bound, count in buckets.items():
            summed[bound] = summed.get(bound, 0.0) + count
    return summed


def interval(increase: Increase, slow: float) -> Interval:
    """Count the requests that took longer than `slow` seconds, rounded up to the next bucket bound."""
    buckets = total(increase)
    requests = max(buckets.values(), default=0.0)
    quick = min((bound for bound in buckets if bound >= slow), default=inf)
    arrived = min((each.arrived for _, each in increase.exemplars if each.value > quick), default=None)
    over = requests - buckets.get(quick, requests)
    return Interval(increase.start, increase.end, increase.instance, requests, over, arrived)


def quantiles(scrapes: Iterable[Scrape], window: Window, which: Sequence[float] = (0.5, 0.99)) -> tuple[float, ...]:
    """Return latency quantiles of a window in seconds, or NaN without observations.

    Values are interpolated within a bucket like Prometheus's `histogram_quantile`. Observations between two scrapes
    belong to the window of the second.
    """
    summed: dict[float, float] = {}
    for increase in increases(scrapes):
        if window.start < increase.end <= window.end:
            for bound, count in total(increase).items():
                summed[bound] = summed.get(bound, 0.0) + count
    return tuple(quantile(each, summed) for each in which)


def quantile(which: float, buckets: Mapping[float, float]) -> float:
    """Return one quantile from cumulative bucket counts."""
    bounds = sorted(buckets)
    count = buckets[bounds[-1]] if bounds else 0.0
    if count <= 0 or bounds[-1] != inf:
        return float("nan")
    rank = which * count
    below, under = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > under:
            if bound == inf:
                return below  # the last finite bound, as in Prometheus
            return below + (bound - below) * (rank - under) / (buckets[bound] - under)
        below, under = bound, buckets[bound]
    return below
