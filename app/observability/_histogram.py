"""A histogram with exemplars that costs a request little: counted in plain lists, described when it is read."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from time import time

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString


class Series:
    """What was observed under one set of labels: a count for each bucket, the sum, and each bucket's last exemplar."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.exemplars: list[tuple[str, str, float, float] | None] = [None] * buckets
        self.total = 0.0


class ExemplarHistogram(Collector):
    """A histogram whose every bucket names the last request in it, by `trace_id` and `span_id`.

    The client's own one takes a lock for each of its numbers, and checks and builds each exemplar at once, although
    the next request in the same bucket replaces it; this one has one writer, the thread of the event loop.
    """

    def __init__(
        self, name: str, help_: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Register it; `bounds` are upper ones, without infinity."""
        self._name = name
        self._help = help_
        self._labels = labels
        self._bounds = bounds
        self._series: dict[tuple[object, ...], Series] = {}
        registry.register(self)

    def observe(self, labels: tuple[object, ...], value: float, trace_id: str, span_id: str) -> None:
        """Count `value`, which is no more than the bound of its bucket."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Series(len(self._bounds) + 1)
        bucket = bisect_left(self._bounds, value)
        series.counts[bucket] += 1
        series.total += value
        series.exemplars[bucket] = (trace_id, span_id, value, time())

    def counts(self) -> Iterable[tuple[tuple[object, ...], int]]:
        """Return how often each set of labels was observed."""
        return [(labels, sum(series.counts)) for labels, series in list(self._series.items())]

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Name the metric to the registry, which refuses the same name twice."""
        return [HistogramMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Describe all that was observed."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        bounds = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]
        for labels, series in list(self._series.items()):
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            count = 0
            for bound, here, exemplar in zip(bounds, series.counts[:], series.exemplars, strict=True):
                count += here
                buckets.append((bound, count, _exemplar(*exemplar)) if exemplar else (bound, count))
            family.add_metric([str(label) for label in labels], buckets, series.total)
        return [family]


def _exemplar(trace_id: str, span_id: str, value: float, timestamp: float) -> Exemplar:
    return Exemplar({"trace_id": trace_id, "span_id": span_id}, value, timestamp)
