"""Spikes in Prometheus, by the rules of `triage explain`, and one slow request of the last one with its lines."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triage import spike
from triage.model import Interval, Line, Window
from triage.stores import _logql, _promql
from triage.stores._http import Server
from triage.tour.walk import SERVICE

_STEP = 5.0  # seconds between two scrapes
_BACK = 900.0  # seconds that are looked back
_TRIES = 8  # slow requests that are asked for
_SETTLED = 2.0


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
    found = [Found(of, dot, lines) for dot in slowest if (lines := _lines(loki, dot))]
    return max(found, key=lambda each: len({line.fields.get("service") for line in each.lines}), default=None)


def _lines(loki: Server, dot: _promql.Named) -> Sequence[Line]:
    around = Window(dot.exemplar.arrived - 60, dot.exemplar.at + 60)
    return _logql.lines(loki, _logql.of_trace(dot.exemplar.trace_id), around)


def _intervals(prometheus: Server, window: Window) -> list[Interval]:
    metric, job = "http_request_duration_seconds", f'job="{SERVICE}"'
    finished = _by_instance(prometheus, f"{metric}_count{{{job}}}", window)
    quick = _by_instance(prometheus, f'{metric}_bucket{{{job},le="{spike.SLOW}"}}', window)
    return [
        interval
        for instance, counts in finished.items()
        for interval in _increases(instance, counts, quick.get(instance, {}))
    ]


def _by_instance(prometheus: Server, selector: str, window: Window) -> Mapping[str, Mapping[float, float]]:
    series = _promql.over(prometheus, f"sum by (instance) ({selector})", window, _STEP)
    return {each.labels.get("instance", ""): each.values for each in series}


def _increases(instance: str, finished: Mapping[float, float], quick: Mapping[float, float]) -> Iterator[Interval]:
    times = sorted(finished)
    for before, at in itertools.pairwise(times):
        # A process that began anew counts from zero.
        reset = finished[at] < finished[before]
        requests = finished[at] - (0 if reset else finished[before])
        under = quick.get(at, 0.0) - (0 if reset else quick.get(before, 0.0))
        yield Interval(before, at, instance, requests, max(0.0, requests - under))
