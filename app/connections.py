"""Connections with limits: how much a client may send before its request is complete, and how long it may take."""

import logging
import sys
from asyncio import AbstractEventLoop, Protocol, TimerHandle, Transport
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, cast

import h11
import uvicorn
from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.errors import problem
from app.limits import CLOSE, MAX_HEADERS
from app.observability import ObservabilityMiddleware, continue_trace
from app.settings import ServerSettings

if TYPE_CHECKING:
    from uvicorn.server import ServerState

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
except ImportError:  # uvicorn then uses h11, too
    _HAS_HTTPTOOLS = False
else:
    _HAS_HTTPTOOLS = True

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_LOG_SECONDS = 1.0  # a client that connects again and again must not fill the log
# Requests that a client may send without waiting for the response, and their bodies: uvicorn keeps all of them.
_MAX_PIPELINED = 16
_MAX_PIPELINED_BYTES = 65_536

# One per process, in the registry of its service.
connections_closed = Counter(
    "http_connections_closed", "Connections that the service closed because of a limit.", ("reason",), registry=None
)
for _reason in (
    "head_timeout",
    "head_too_large",
    "invalid_request",
    "response_timeout",
    "too_many_connections",
    "too_many_requests",
):
    connections_closed.labels(_reason)  # so that a query for an increase sees the first one


class Config(uvicorn.Config):
    """The configuration of a server with limits."""

    def __init__(
        self,
        app: ObservabilityMiddleware,
        settings: ServerSettings,
        max_connections: int,
        **options: Any,  # noqa: ANN401 - those of uvicorn
    ) -> None:
        """Configure a server for `app` with uvicorn's `options`."""
        self.client_timeout = settings.client_timeout
        self.max_connections = max_connections
        self.open_guards: dict[_Guard, None] = {}  # in the order of their connections
        # For each reason: when the last line was logged, and how many connections have been closed without one since.
        self.logged: dict[str, float] = {}
        self.suppressed: dict[str, int] = defaultdict(int)
        # The sizes of names and values are compared with the setting when the head is complete. Until then, there are
        # also the separators.
        self.max_unfinished = 2 * settings.max_header_bytes
        http: type[Protocol] = _HttpToolsConnection if _HAS_HTTPTOOLS else _H11Connection
        super().__init__(app, http=http, h11_max_incomplete_event_size=self.max_unfinished, **options)


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail


class _Guard:
    """Close a connection that exceeds a limit."""

    def __init__(self, connection: "_H11Connection | _HttpToolsConnection", config: Config) -> None:
        self.connection = connection
        self._config = config
        self.max_unfinished = config.max_unfinished
        self._timer: TimerHandle | None = None
        self._waiting_for: tuple[str, object] | None = None
        self._since = 0.0
        self.too_large = _RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "The request's head is too long."
        )
        self.too_many_requests = _RefusedError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many_requests",
            "The client sends requests without waiting for responses.",
        )

    def start(self) -> None:
        """Begin to watch the connection; if there are too many, close another one that waits for a request."""
        self._schedule()
        open_guards, limit = self._config.open_guards, self._config.max_connections
        if len(open_guards) >= limit:
            # The oldest one; those that have never sent a request are closed first.
            waiting = [guard for guard in open_guards if guard.is_waiting_for_request()]
            unused = (guard for guard in waiting if not guard.has_been_used())
            if (oldest := next(chain(unused, waiting), None)) is None:
                detail = f"The service has {limit} connections, and all of them are in use."
                self.refuse(_RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", detail))
                return
            oldest.report("too_many_connections", "A new client needs the connection.")
            oldest.stop()
            oldest.connection.transport.close()
        open_guards[self] = None

    def stop(self) -> None:
        """Do not watch the connection any more."""
        self._config.open_guards.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def report(self, reason: str, detail: str) -> None:
        """Count that the connection is closed, and log it unless another line with the reason was logged just now."""
        connections_closed.labels(reason).inc()
        logged, suppressed, now = self._config.logged, self._config.suppressed, self.connection.loop.time()
        if now - logged.get(reason, -inf) < _LOG_SECONDS:
            suppressed[reason] += 1
            return
        logged[reason] = now
        fields = {"event": "connection.closed", "reason": reason, "suppressed": suppressed.pop(reason, 0)}
        logger.warning("Connection closed: %s", detail, extra=fields)

    def refuse(self, error: _RefusedError) -> None:
        """Close the connection, with a response unless another one is under way."""
        connection = self.connection
        with continue_trace({}) as trace:
            self.report(error.reason, error.detail)
            response = problem(error.status, error.detail, {**CLOSE, "X-Trace-ID": trace.trace_id})
        if self.is_waiting_for_request():
            head = [f"HTTP/1.1 {error.status} {error.status.phrase}".encode()]
            headers = [*connection.server_state.default_headers, *response.raw_headers]
            head += [name + b": " + value for name, value in headers]
            connection.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        connection.transport.close()

    def refuse_invalid(self, message: str) -> None:
        """Refuse what the parser did not accept; the exception that is being handled has the reason."""
        exc = sys.exception()
        cause = exc.__context__ if exc is not None else None
        if isinstance(cause, _RefusedError):
            self.refuse(cause)
        elif getattr(exc, "error_status_hint", None) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            self.refuse(self.too_large)
        else:
            self.refuse(_RefusedError(HTTPStatus.BAD_REQUEST, "invalid_request", message))

    def _schedule(self) -> None:
        seconds = min(_CHECK_SECONDS, self._config.client_timeout / 4)
        self._timer = self.connection.loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """Close the connection if it has been waiting for the same thing for too long."""
        connection, now = self.connection, self.connection.loop.time()
        if connection not in connection.connections:  # it was closed or has become a websocket
            self.stop()
            return
        waiting_for = self._find_pending()
        if waiting_for != self._waiting_for:
            self._waiting_for, self._since = waiting_for, now
        elif waiting_for is not None and now - self._since >= self._config.client_timeout:
            if waiting_for[0] == "head":
                detail = "The request did not arrive in time."
                self.refuse(_RefusedError(HTTPStatus.REQUEST_TIMEOUT, "head_timeout", detail))
            else:
                self.report("response_timeout", "The client does not read the response.")
                connection.transport.abort()  # `close` would wait for the client
                return
        self._schedule()

    def _find_pending(self) -> tuple[str, object] | None:
        """Return which action of the client is pending, and for which request; `None` if there is none.

        It is to send a "head" or to read a "response". While an application waits for a body, `LimitsMiddleware`
        measures the time.
        """
        connection = self.connection
        if connection.transport.get_write_buffer_size():
            return "response", connection.cycle
        # uvicorn regards a connection as idle after a response, even if a part of the next request came with the last.
        idle = connection.timeout_keep_alive_task is not None and not connection.has_unfinished_request()
        if self.is_waiting_for_request() and not idle:
            return "head", connection.cycle
        return None

    def is_waiting_for_request(self) -> bool:
        """Return whether the client has to send the head of a request, or the rest of one that was answered."""
        return not self.has_been_used() or self.connection.cycle.response_complete

    def has_been_used(self) -> bool:
        """Return whether the client has sent the head of a request."""
        cycle: Any = self.connection.cycle  # `None` before the first request, against its declared type
        return cycle is not None


class _GuardedConnection(Protocol):
    """What both kinds of connections have in common; a protocol of uvicorn is the next base class."""

    def __init__(
        self,
        config: Config,
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)  # type: ignore[call-arg]  # uvicorn's
        self._guard = _Guard(cast("_H11Connection | _HttpToolsConnection", self), config)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # like uvicorn's
        super().connection_made(transport)
        self._guard.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._guard.refuse_invalid(msg)


class _H11Connection(_GuardedConnection, H11Protocol):
    """A connection of uvicorn; h11 itself limits the size of an unfinished head."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._guard.is_waiting_for_request() or self.transport.is_closing():
            return
        # h11 has not parsed what follows the current request.
        if len(self.conn.trailing_data[0]) > _MAX_PIPELINED_BYTES:
            self._guard.refuse(self._guard.too_many_requests)

    def has_unfinished_request(self) -> bool:
        """Return whether the client has sent only a part of a request."""
        return self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0])


if _HAS_HTTPTOOLS:

    class _HttpToolsConnection(_GuardedConnection, HttpToolsProtocol):
        """A connection of uvicorn that also limits what httptools does not."""

        _unfinished = 0  # bytes without a complete head or a part of a body
        _progress = False
        _within_request = False
        _unanswered: Sequence[RequestResponseCycle] = ()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            # Of several requests, uvicorn ends only the last one. The others would wait, and keep their bodies.
            for cycle in self._unanswered:
                cycle.disconnected = cycle.disconnected or not cycle.response_complete
                cycle.message_event.set()

        def has_unfinished_request(self) -> bool:
            """Return whether the client has sent only a part of a request."""
            return self._within_request

        def data_received(self, data: bytes) -> None:
            self._progress = False
            super().data_received(data)
            self._unfinished = 0 if self._progress else self._unfinished + len(data)
            if self._unfinished > self._guard.max_unfinished and not self.transport.is_closing():
                self._guard.refuse(self._guard.too_large)

        def on_message_begin(self) -> None:
            self._within_request = True
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if len(self.headers) >= MAX_HEADERS:
                raise self._guard.too_large
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._progress = True
            super().on_headers_complete()
            if self._guard.has_been_used():  # not if the first request opens a websocket
                self._unanswered = [each for each in (*self._unanswered, self.cycle) if not each.response_complete]
            if len(self.pipeline) > _MAX_PIPELINED:
                raise self._guard.too_many_requests

        def on_body(self, body: bytes) -> None:
            self._progress = True
            super().on_body(body)
            if sum(len(cycle.body) for cycle, _ in self.pipeline) > _MAX_PIPELINED_BYTES:
                raise self._guard.too_many_requests

        def on_message_complete(self) -> None:
            self._within_request = False
            super().on_message_complete()
