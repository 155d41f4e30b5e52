"""The facade: one object that knows a service's name, its routes, its registry and its sinks."""

from collections.abc import Callable, Collection
from typing import Any

from prometheus_client import CollectorRegistry

from ._asgi import ASGIApp
from ._event import RequestFailed, RequestFinished, Sink
from ._logging import LogSink
from ._metrics import Metrics
from ._middleware import ObservedApp


class Observability:
    """What one service emits: its log lines and its metrics."""

    def __init__(  # noqa: PLR0913 - one place where a service says what it is
        self,
        service: str,
        *,
        instance: str = "-",
        registry: CollectorRegistry | None = None,
        routes: Collection[str] = (),
        quiet: Collection[str] = (),
        own_errors: tuple[type[BaseException], ...] = (),
        payload_values: Collection[str] = (),
    ) -> None:
        """Prepare the sinks; nothing is written or configured yet.

        - `service` and `instance` (`ip:port`): the same words as Prometheus's `job` and `instance`.
        - `registry`: where the metrics are registered; a fresh one if there is none.
        - `routes`: the templates that may become a metric's label; every other route is `unmatched`.
        - `quiet`: routes whose successful requests make neither line nor observation, such as probes.
        - `own_errors`: exceptions whose texts may be logged, because the application wrote them.
        - `payload_values`: keys of JSON bodies whose values may be logged when a request fails.
        """
        self.service = service
        self.instance = instance
        self.registry = registry if registry is not None else CollectorRegistry()
        self.routes = frozenset(routes) | frozenset(quiet)
        self.quiet = frozenset(quiet)
        self.payload_values = frozenset(payload_values)
        self.metrics = Metrics(self.registry)
        # The line comes last: whoever has read it finds the observation, too.
        self._sinks: tuple[Sink, ...] = (self.metrics, LogSink(own_errors))

    def wrap(self, app: ASGIApp) -> ObservedApp:
        """Return `app`, observed. Wrap the finished application: what is added around it later is not seen."""
        return ObservedApp(app, self)

    def finished(self, event: RequestFinished) -> None:
        """Hand the end of a request to every sink."""
        for sink in self._sinks:
            self._deliver(sink.finished, event)

    def failed(self, event: RequestFailed) -> None:
        """Hand the failure of a request to every sink."""
        for sink in self._sinks:
            self._deliver(sink.failed, event)

    def arrived(self) -> None:
        """Count a request in."""
        self.metrics.in_flight.inc()

    def left(self) -> None:
        """Count it out."""
        self.metrics.in_flight.dec()

    def reject_id(self, reason: str) -> None:
        """Count an id that was not used."""
        self.metrics.rejected_ids.labels(reason).inc()

    def _deliver(self, sink: Callable[[Any], None], event: RequestFinished | RequestFailed) -> None:
        try:
            sink(event)
        except Exception:  # noqa: BLE001 - a sink's trouble is counted, and is not the client's
            self.metrics.log_failures.inc()
