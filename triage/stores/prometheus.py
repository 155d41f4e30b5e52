"""Samples in Prometheus, as they were scraped."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import isfinite

from triage.model import Histogram, Scrape, Series, Window
from triage.stores import _promql
from triage.stores._http import Server
from triage.stores._promql import Named, Samples, quoted

_SLICE = 300  # seconds of samples in one answer

Scraped = dict[tuple[float, str], dict[Series, Histogram]]


class PrometheusStore:
    """The samples that Prometheus has of a window."""

    def __init__(self, server: Server, window: Window) -> None:
        """Ask `server`."""
        self._server, self._window = server, window

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return what `http_request_duration_seconds` was at each scrape, in order.

        A scrape that answered before there was a request is one, too: the counters were at zero.
        """
        found: Scraped = {}
        job = f"{{job={quoted(service)}}}"
        with self._server.understood():
            for samples in self._slices(f"up{job}"):
                instance = samples.labels["instance"]
                found.update({(at, instance): {} for at, value in samples.values.items() if value == 1})
            for samples in self._slices(f"{_promql.BUCKETS}{job}"):
                _put(found, samples)
            self._name(found, _promql.exemplars(self._server, service, self._window))
        return [Scrape(at, instance, found[at, instance]) for at, instance in sorted(found)]

    def _slices(self, selector: str) -> Iterator[Samples]:
        """Ask for all samples of a window, some minutes at a time."""
        start, end = self._window
        lengths = range(0, max(1, round(end - start)), _SLICE)
        parts = (Window(start + each, min(start + each + _SLICE, end)) for each in lengths)
        return chain.from_iterable(_promql.samples(self._server, selector, part) for part in parts)

    @staticmethod
    def _name(found: Scraped, exemplars: Sequence[Named]) -> None:
        """Give each exemplar to the first scrape after it: Prometheus does not say which one brought it.

        Each brings one of a bucket; a second one was made while the scrape was, and came with the next.
        """
        times: dict[str, list[float]] = defaultdict(list)
        for at, instance in sorted(found):
            times[instance].append(at)
        for exemplar, labels in exemplars:
            instance, bound = labels["instance"], float(labels["le"])
            of_instance = times[instance]
            for at in of_instance[bisect_left(of_instance, exemplar.at) :]:
                histogram = found[at, instance].get(_series(labels))
                if histogram is not None and bound not in histogram.exemplars:
                    histogram.exemplars[bound] = exemplar  # type: ignore[index]
                    break


def _put(found: Scraped, samples: Samples) -> None:
    """Put the samples of one bucket where they belong; whatever other labels there are, series are added up."""
    bound, series, instance = float(samples.labels["le"]), _series(samples.labels), samples.labels["instance"]
    for at, value in samples.values.items():
        if isfinite(value):
            buckets = found.setdefault((at, instance), {}).setdefault(series, Histogram({}, {})).buckets
            buckets[bound] = buckets.get(bound, 0.0) + value  # type: ignore[index]


def _series(labels: Mapping[str, str]) -> Series:
    return Series(labels.get("method", ""), labels.get("route", ""), labels.get("status", ""))
