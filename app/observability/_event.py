"""What happened, as every sink is told it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ._identity import Identity


class RequestFinished(NamedTuple):
    """A request was answered, or will never be.

    `duration` is in seconds, rounded to the microsecond, from the request's arrival in the event loop to its last body
    byte. `outcome` is `ok`, `client_error`, `server_error`, `client_disconnect` or `cancelled`. `fields` is what the
    code below noted: annotations and the latency's breakdown.
    """

    identity: Identity
    method: str
    route: str
    status: int
    duration: float
    outcome: str
    fields: Mapping[str, object]


class RequestFailed(NamedTuple):
    """An exception ended a request, or a handler answered 5xx because of one.

    `payload` is facts about the body, not the body; `fields` is what the code below had annotated by then.
    """

    identity: Identity
    method: str
    route: str
    error: BaseException
    payload: Mapping[str, object]
    fields: Mapping[str, object]


class WebSocketClosed(NamedTuple):
    """A websocket is closed, or was never accepted. `code` is that of RFC 6455, section 7.4; `duration` in seconds."""

    identity: Identity
    route: str
    code: int
    duration: float
    outcome: str
    fields: Mapping[str, object]


class Sink(Protocol):
    """Takes every event. A sink that raises is counted, and the client hears nothing of it."""

    def finished(self, event: RequestFinished) -> None:
        """Take the end of a request."""

    def failed(self, event: RequestFailed) -> None:
        """Take the failure of a request."""

    def closed(self, event: WebSocketClosed) -> None:
        """Take the end of a websocket."""
