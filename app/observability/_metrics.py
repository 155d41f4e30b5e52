"""Sink: one histogram observation with its exemplar; and the page that Prometheus reads."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from ._event import RequestFailed, RequestFinished, WebSocketClosed
from ._histogram import ExemplarHistogram
from ._routes import UNMATCHED

_METHOD_NOT_ALLOWED = 405

#: Upper bounds in seconds. 0.5 is the objective of the latency SLO, and 10 lies above every time-out of the service.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The metrics of one service, in the registry that it was given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them all."""
        self._duration = ExemplarHistogram(
            "http_request_duration_seconds",
            "Time from a request's arrival in the event loop to the last byte of its response.",
            ("method", "route", "status"),
            BUCKETS,
            registry,
        )
        self.loop_lag = Histogram(
            "event_loop_lag_seconds",
            "How late a timer of 20 ms was: how long everything in this process had to wait.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        #: Requests being served now; a plain number, which the event loop's thread alone changes.
        self.in_flight = 0
        in_flight = Gauge("http_requests_in_flight", "Requests being served now.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        self.log_failures = Counter(
            "log_records_failed", "Log lines and observations that could not be written.", registry=registry
        )
        #: Lines written, by level; plain numbers, which only `Lines` changes, under its lock.
        self.written: defaultdict[str, int] = defaultdict(int)
        registry.register(LinesWritten(self.written))
        self._rejected_ids = Counter(
            "request_ids_rejected", "Ids from clients that were not used.", ("reason",), registry=registry
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def finished(self, event: RequestFinished) -> None:
        """Observe the duration; the exemplar names the one request that it was."""
        identity, method, route, status, duration, _, _ = event
        # A client that tries every method on every path must not make a series of each.
        declared = route != UNMATCHED and status != _METHOD_NOT_ALLOWED
        self._duration.observe((method if declared else "OTHER", route, status), duration, identity[0], identity[1])

    def failed(self, event: RequestFailed) -> None:
        """Do nothing: a failure is counted by its status."""

    def closed(self, event: WebSocketClosed) -> None:
        """Do nothing: how long a websocket was open is no latency."""

    def reject_id(self, reason: str) -> None:
        """Count an id that was not used."""
        self._rejected_ids.labels(reason).inc()

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many requests were observed since the start, by route and status."""
        totals: dict[str, dict[str, int]] = {}
        for (_, route, status), count in self._duration.counts():
            of_route = totals.setdefault(str(route), {})
            of_route[str(status)] = of_route.get(str(status), 0) + count
        return totals


class LinesWritten(Collector):
    """Lines by level, counted where they are written: a counter with a lock would be one more for each line."""

    def __init__(self, written: Mapping[str, int]) -> None:
        """Read `written`."""
        self._written = written

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Describe them."""
        family = CounterMetricFamily("log_records", "Log lines written.", labels=["level"])
        for level, lines in list(self._written.items()):
            family.add_metric([level], lines)
        return [family]


def metrics_page(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, in the format that the `Accept` header asks for.

    Exemplars exist in OpenMetrics only, which Prometheus asks for by itself.
    """
    encode: Callable[[CollectorRegistry], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(registry), content_type
