"""Spikes in Prometheus, by the rules of `triage explain`, and one slow request of the last one with its lines."""

from collections.abc import Sequence
from typing import NamedTuple

from triage import histograms, spike
from triage.model import Histogram, Interval, Line, Scrape, Series, Window
from triage.stores import _logql, _promql
from triage.stores._http import Server
from triage.tour.walk import SERVICE

_STEP = 5.0  # seconds between two scrapes
_BACK = 900.0  # seconds that are looked back
_TRIES = 8  # slow requests that are asked for
_SETTLED = 2.0
_ALL = Series("", "", "")  # Prometheus has added them up


class Found(NamedTuple):
    """A spike, one of its slow requests, and what was logged for it."""

    spike: spike.Spike
    dot: _promql.Named
    lines: Sequence[Line]


def last(prometheus: Server, now: float) -> spike.Spike | None:
    """Return the last spike of the service within a quarter of an hour."""
    found = spike.spikes(_intervals(prometheus, Window(now - _BACK, now)))
    return found[-1] if found else None


def slow_request(prometheus: Server, loki: Server, of: spike.Spike, now: float) -> Found | None:
    """Return a slow request of a spike with its lines: the slowest, unless another one went through more services."""
    dots = _promql.exemplars(prometheus, SERVICE, Window(of.start - _STEP, of.end + _STEP))
    slow = [
        each
        for each in dots
        if each.exemplar.value > spike.SLOW
        and each.exemplar.at < now - _SETTLED
        and _logql.is_id(each.exemplar.trace_id)
    ]
    slowest = sorted(slow, key=lambda each: -each.exemplar.value)[:_TRIES]
    found = [Found(of, dot, lines) for dot in slowest if (lines := _logql.of_request(loki, dot.exemplar))]
    return max(found, key=lambda each: len({line.fields.get("service") for line in each.lines}), default=None)


def _intervals(prometheus: Server, window: Window) -> list[Interval]:
    counts: dict[tuple[float, str], dict[float, float]] = {}
    selector = f'{_promql.BUCKETS}{{job="{SERVICE}",le=~"{spike.SLOW}|[+]Inf"}}'
    found = _promql.over(prometheus, f"sum by (instance, le) ({selector})", window, _STEP)
    with prometheus.understood():
        for labels, values in found:
            for at, count in values.items():
                counts.setdefault((at, labels["instance"]), {})[float(labels["le"])] = count
    scrapes = [Scrape(at, instance, {_ALL: Histogram(buckets)}) for (at, instance), buckets in counts.items()]
    return [histograms.interval(increase, spike.SLOW) for increase in histograms.increases(scrapes)]
