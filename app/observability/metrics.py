"""The request-duration histogram with exemplars, the other metrics, and the page that Prometheus scrapes."""

import logging
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from weakref import WeakKeyDictionary

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

logger = logging.getLogger("observability")

#: Upper bounds in seconds. 0.5 is the latency objective; 10 is above the time-outs of the demo's services.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LogRecordCollector(Collector):
    """The counter `log_records_total`.

    The log handler counts while it holds its lock, which `logging` resets after a fork. The lock of a `Counter` is not
    reset: a child process that was forked at the wrong moment would wait for it forever.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.lines: Counts[str] = Counts()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the number of lines for each level."""
        family = CounterMetricFamily("log_records", "Log lines written.", labels=["level"])
        for level, lines in list(self.lines.items()):
            family.add_metric([level], lines)
        yield family


# One per process, like `logging` itself. Several registries can have them.
log_records = LogRecordCollector()
log_records_failed = Counter("log_records_failed", "Log records that could not be written.", registry=None)


class Metrics:
    """The metrics of the middleware in one registry."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        """Register the metrics, and the collectors of prometheus_client that the registry does not have."""
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from the arrival of a request to the last byte of its response, or to the first byte of a stream.",
            ("method", "route", "status"),
            buckets=buckets,
            registry=None,
        )
        self.in_flight = Gauge(
            "http_requests_in_flight", "Requests that are being served.", registry=None, multiprocess_mode="livesum"
        )
        self.event_loop_lag = Histogram(
            "event_loop_lag_seconds", "How late a timer of 20 ms ran.", buckets=_LAG_BUCKETS, registry=None
        )
        self._rejected = Counter("request_ids_rejected", "Invalid ids in request headers.", ("reason",), registry=None)
        ours: tuple[Collector, ...] = (
            self._duration, self.in_flight, self.event_loop_lag, self._rejected, log_records, log_records_failed,
        )  # fmt: skip
        for collector in ours:
            if not _register(registry, collector):
                names = ", ".join(family.name for family in collector.collect())
                logger.warning(
                    "The registry already has another metric with this name, so ours is not exposed: %s", names
                )
        for make in (ProcessCollector, GCCollector):
            _register(registry, make(registry=CollectorRegistry()))
        # `labels()` validates and takes a lock at each call; there are few combinations.
        self._labels: Callable[[str, str, str], Histogram] = cache(self._duration.labels)

    def observe(self, method: str, route: str, status: int, seconds: float, exemplar: dict[str, str]) -> None:
        """Observe the duration of a request."""
        self._labels(method, route, str(status)).observe(seconds, exemplar)

    def reject_id(self, reason: str) -> None:
        """Count an invalid id."""
        self._rejected.labels(reason).inc()

    def totals(self) -> dict[str, dict[str, int]]:
        """Return the number of observed requests, by route and status."""
        totals: dict[str, Counts[str]] = {}
        for sample in (sample for family in self._duration.collect() for sample in family.samples):
            if sample.name.endswith("_count"):
                totals.setdefault(sample.labels["route"], Counts())[sample.labels["status"]] += int(sample.value)
        return {route: dict(counts) for route, counts in totals.items()}


def _register(registry: CollectorRegistry, collector: Collector) -> bool:
    try:
        registry.register(collector)
    except ValueError:  # the registry has a metric of this name
        return False
    return True


_metrics: WeakKeyDictionary[CollectorRegistry, Metrics] = WeakKeyDictionary()


def metrics_in(registry: CollectorRegistry, buckets: Sequence[float]) -> Metrics:
    """Return the metrics of a registry, the same ones at every call; only the first call uses `buckets`."""
    if registry not in _metrics:
        _metrics[registry] = Metrics(registry, buckets)
    return _metrics[registry]


def metrics_page(accept: str = "", registry: CollectorRegistry = REGISTRY) -> tuple[bytes, str]:
    """Return the body and the content type of `GET /metrics`.

    `accept` is the request's `Accept` header: exemplars exist only in OpenMetrics, which Prometheus asks for.
    """
    encode: Callable[[CollectorRegistry], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is not a number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type
