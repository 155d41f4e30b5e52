"""The facade: one object that knows a service's name, its rules, its registry and its sinks."""

from collections.abc import Collection
from functools import partial

from prometheus_client import CollectorRegistry

from ._asgi import ASGIApp
from ._eventloop import Heartbeat
from ._identity import identify, identify_anew
from ._lines import Lines
from ._logging import LogSink
from ._metrics import Metrics
from ._middleware import ObservedApp
from ._observer import Observer


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
        trust_client_ids: bool = True,
        server_timing: bool = False,
    ) -> None:
        """Prepare the sinks; nothing is written yet, and logging is as it was.

        - `service` and `instance` (`ip:port`): the same words as Prometheus's `job` and `instance`.
        - `registry`: where the metrics are registered; a fresh one if there is none.
        - `routes`: the templates that may become a metric's label; every other route is `unmatched`.
        - `quiet`: routes whose successful requests make neither line nor observation, such as probes.
        - `own_errors`: exceptions whose texts may be logged, because the application wrote them.
        - `payload_values`: keys of JSON bodies whose values may be logged when a request fails.
        - `trust_client_ids`: whether `traceparent` and `X-Request-ID` of clients are used; at the public edge, where
          anybody could write into anybody's trace, they should not be.
        - `server_timing`: whether responses say in `Server-Timing` how long they took to begin, so that a client can
          tell its own time, and the network's, from the service's.
        """
        self.registry = registry if registry is not None else CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.lines = Lines(service, instance, self.metrics)
        self._observer = Observer(
            routes=frozenset(routes) | frozenset(quiet),
            quiet=frozenset(quiet),
            server_timing=server_timing,
            payload_values=frozenset(payload_values),
            identify=partial(identify, rejected=self.metrics.reject_id) if trust_client_ids else identify_anew,
            metrics=self.metrics,
            heartbeat=Heartbeat(self.metrics.loop_lag.observe),
            # The line comes last: whoever has read it finds the observation, too.
            sinks=(self.metrics, LogSink(self.lines, own_errors)),
        )

    def wrap(self, app: ASGIApp) -> ObservedApp:
        """Return `app`, observed. Wrap the finished application: what is added around it later is not seen."""
        return ObservedApp(app, self._observer)
