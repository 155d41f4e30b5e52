"""Sink: one histogram observation with its exemplar; and the page that Prometheus reads."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from ._event import RequestFailed, RequestFinished
from ._routes import UNMATCHED

_METHOD_NOT_ALLOWED = 405

#: Upper bounds in seconds. 0.5 is the objective of the latency SLO, and 10 lies above every time-out of the service.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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
        self.in_flight = Gauge("http_requests_in_flight", "Requests being served now.", registry=registry)
        self.log_records = Counter("log_records", "Log lines written.", ("level",), registry=registry)
        self.log_failures = Counter(
            "log_records_failed", "Log lines and observations that could not be written.", registry=registry
        )
        self.rejected_ids = Counter(
            "request_ids_rejected", "Ids from clients that were not used.", ("reason",), registry=registry
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def finished(self, event: RequestFinished) -> None:
        """Observe the duration; the exemplar names the one request that it was."""
        identity = event.identity
        exemplar = {"trace_id": identity.trace_id, "span_id": identity.span_id}
        # A client that tries every method on every path must not make a series of each.
        declared = event.route != UNMATCHED and event.status != _METHOD_NOT_ALLOWED
        self._child(event.method if declared else "OTHER", event.route, event.status).observe(event.duration, exemplar)

    def failed(self, event: RequestFailed) -> None:
        """Do nothing: a failure is counted by its status."""

    def _child(self, method: str, route: str, status: int) -> Histogram:
        # `labels()` sorts and joins its arguments each time; the sets are few, so remember their histograms.
        key = (method, route, status)
        if (child := self._children.get(key)) is None:
            child = self._children[key] = self.duration.labels(method, route, str(status))
        return child


def metrics_page(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, in the format that the `Accept` header asks for.

    Exemplars exist in OpenMetrics only, which Prometheus asks for by itself.
    """
    encode: Callable[[CollectorRegistry], bytes]
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
