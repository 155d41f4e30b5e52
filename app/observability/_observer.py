"""What every connection is told by, and to whom: the rules of its service, its metrics, its heartbeat, its sinks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._event import RequestFailed, RequestFinished, Sink, WebSocketClosed
from ._eventloop import Heartbeat
from ._identity import Headers, Identity, identify, new_identity
from ._metrics import Metrics


@dataclass(frozen=True)
class Observer:
    """The rules of one service, and where its events go."""

    routes: frozenset[str]
    quiet: frozenset[str]
    payload_values: frozenset[str]
    trust_client_ids: bool
    metrics: Metrics
    heartbeat: Heartbeat
    sinks: tuple[Sink, ...]

    def identify(self, headers: Headers) -> Identity:
        """Return a request's identity: its client's, if clients are trusted."""
        return identify(headers, self.metrics.reject_id) if self.trust_client_ids else new_identity()

    def finished(self, event: RequestFinished) -> None:
        """Hand the end of a request to every sink."""
        for sink in self.sinks:
            self._deliver(sink.finished, event)

    def failed(self, event: RequestFailed) -> None:
        """Hand the failure of a request to every sink."""
        for sink in self.sinks:
            self._deliver(sink.failed, event)

    def closed(self, event: WebSocketClosed) -> None:
        """Hand the end of a websocket to every sink."""
        for sink in self.sinks:
            self._deliver(sink.closed, event)

    def _deliver(self, take: Callable[[Any], None], event: object) -> None:
        try:
            take(event)
        except Exception:  # noqa: BLE001 - a sink's trouble is counted, and is not the client's
            self.metrics.log_failures.inc()
