"""Sink: one histogram observation with its exemplar; and the page that Prometheus reads."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from ._event import RequestFailed, RequestFinished, WebSocketClosed
from ._routes import UNMATCHED

_METHOD_NOT_ALLOWED = 405

#: Upper bounds in seconds. 0.5 is the objective of the latency SLO, and 10 lies above every time-out of the service.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The metrics of one service, in the registry that it was given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them all."""
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival in the event loop to the last byte of its response.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "event_loop_lag_seconds",
            "How late a timer of 10 ms was: how long everything in this process had to wait.",
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
        self._log_records = Counter("log_records", "Log lines written.", ("level",), registry=registry)
        self._rejected_ids = Counter(
            "request_ids_rejected", "Ids from clients that were not used.", ("reason",), registry=registry
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        # `labels()` checks and joins its arguments each time; the sets are few, so remember their children.
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self._levels: dict[str, Counter] = {}

    def finished(self, event: RequestFinished) -> None:
        """Observe the duration; the exemplar names the one request that it was."""
        trace_id, span_id, *_ = event.identity
        # A client that tries every method on every path must not make a series of each.
        declared = event.route != UNMATCHED and event.status != _METHOD_NOT_ALLOWED
        key = (event.method if declared else "OTHER", event.route, event.status)
        child = self._durations.get(key)
        if child is None:
            method, route, status = key
            child = self._durations[key] = self.duration.labels(method, route, str(status))
        child.observe(event.duration, {"trace_id": trace_id, "span_id": span_id})

    def failed(self, event: RequestFailed) -> None:
        """Do nothing: a failure is counted by its status."""

    def closed(self, event: WebSocketClosed) -> None:
        """Do nothing: how long a websocket was open is no latency."""

    def wrote(self, level: str) -> None:
        """Count a line that was written."""
        child = self._levels.get(level)
        if child is None:
            child = self._levels[level] = self._log_records.labels(level)
        child.inc()

    def reject_id(self, reason: str) -> None:
        """Count an id that was not used."""
        self._rejected_ids.labels(reason).inc()

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many requests were observed since the start, by route and status."""
        totals: dict[str, dict[str, int]] = {}
        for family in self.duration.collect():
            for sample in family.samples:
                if sample.name.endswith("_count"):
                    of_route = totals.setdefault(sample.labels["route"], {})
                    status = sample.labels["status"]
                    of_route[status] = of_route.get(status, 0) + int(sample.value)
        return totals


def metrics_page(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, in the format that the `Accept` header asks for.

    Exemplars exist in OpenMetrics only, which Prometheus asks for by itself.
    """
    encode: Callable[[CollectorRegistry], bytes]
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
