"""What every connection is told by, and to whom: the rules of its service, its metrics, its heartbeat, its sinks."""

from collections.abc import Callable
from dataclasses import dataclass

from ._event import RequestFailed, RequestFinished, Sink, WebSocketClosed
from ._eventloop import Heartbeat
from ._identity import Headers, Identity
from ._metrics import Metrics


@dataclass(frozen=True)
class Observer:
    """The rules of one service, and where its events go."""

    routes: frozenset[str]
    quiet: frozenset[str]
    server_timing: bool
    payload_values: frozenset[str]
    identify: Callable[[Headers], Identity]
    metrics: Metrics
    heartbeat: Heartbeat
    sinks: tuple[Sink, ...]

    def finished(self, event: RequestFinished) -> None:
        """Hand the end of a request to every sink; what one of them raises is counted, and is not the client's."""
        for sink in self.sinks:
            try:
                sink.finished(event)
            except Exception:  # noqa: BLE001 - a sink may raise anything, and the next one is told, too
                self.metrics.log_failures.inc()

    def failed(self, event: RequestFailed) -> None:
        """Hand the failure of a request to every sink."""
        for sink in self.sinks:
            try:
                sink.failed(event)
            except Exception:  # noqa: BLE001 - as above
                self.metrics.log_failures.inc()

    def closed(self, event: WebSocketClosed) -> None:
        """Hand the end of a websocket to every sink."""
        for sink in self.sinks:
            try:
                sink.closed(event)
            except Exception:  # noqa: BLE001 - as above
                self.metrics.log_failures.inc()
