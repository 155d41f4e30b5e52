"""ObservabilityMiddleware: pure ASGI; one trace id in, one log line and one observation out, for every request."""

import logging
import sys
from asyncio import CancelledError, sleep
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from .context import RequestContext, TraceContext, current
from .eventloop import LagMonitor
from .formatter import describe_exception
from .logconfig import ACCESS_LOGGER, logged_exception, restore_logging
from .metrics import BUCKETS, log_records_failed, metrics_in
from .payload import Payload
from .propagation import extract, new_span_id, new_trace_id, traceparent
from .routing import UNMATCHED, route_template

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("observability")
access_logger = logging.getLogger(ACCESS_LOGGER)

# A key in the scope of observed requests: a mounted application that has this middleware does not observe them again.
_OBSERVED = "observability"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_BODY_MESSAGES = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
# How Starlette reports to an application that its client has left; by name, because Starlette may not be installed.
_DISCONNECT_ERRORS = frozenset({"ClientDisconnect", "WebSocketDisconnect"})
_CLIENT_CLOSED_REQUEST = 499  # nginx's status
_METHOD_NOT_ALLOWED = 405
# More than any service has. Only the parameters of mounts can create more templates (see routing.py).
_MAX_TEMPLATES = 1000
# A response that ends this much later than its first byte is a stream, even if it had a single part.
_STREAM_SECONDS = 0.1
# At shutdown, cancelled requests have 50 times 10 ms to end.
_SHUTDOWN_TURNS, _SHUTDOWN_TURN_SECONDS = 50, 0.01
# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
_NORMAL, _GOING_AWAY, _NO_CODE, _ABNORMAL, _POLICY_VIOLATION, _INTERNAL_ERROR = 1000, 1001, 1005, 1006, 1008, 1011


class ObservabilityMiddleware:
    """Give every request a trace id, log it once, and observe its duration with an exemplar.

    Wrap the finished application, so that unhandled errors and refused requests have the id, too. For FastAPI, use
    `observability.fastapi.ObservedFastAPI`.
    """

    def __init__(  # noqa: PLR0913 - the options of a middleware
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry = REGISTRY,
        buckets: Sequence[float] = BUCKETS,
        routes: Collection[str] = (),
        exclude: Collection[str] = (),
        slow_ms: float = 500,
        payload_values: Collection[str] = (),
        request_id_header: str = "X-Request-ID",
        trust_client_ids: bool = True,
        server_timing: bool = False,
    ) -> None:
        """Wrap `app`.

        Args:
            app: any ASGI application.
            registry: where the metrics are registered.
            buckets: upper bounds of the duration histogram, in seconds.
            routes: paths that become route labels, if the application does not have Starlette's routes; all other paths
                are `unmatched`.
            exclude: routes whose successful requests are neither logged nor observed, such as `/metrics`.
            slow_ms: requests that take at least this long are logged as warnings, with their payload.
            payload_values: keys of JSON bodies whose values may be logged.
            request_id_header: the header with the client's own id, such as `X-Correlation-ID`.
            trust_client_ids: whether `traceparent` and the request id of clients are used. Set it to `False` at a
                public edge, where a client could use the trace id of another one.
            server_timing: whether responses get a `Server-Timing` header with the time to the first byte.
        """
        self.app = app
        self.metrics = metrics_in(registry, buckets)
        self.lag_monitor = LagMonitor(self.metrics.event_loop_lag.observe)
        self._paths = frozenset(routes) | frozenset(exclude)
        self._templates: set[str] = set()
        self.exclude = frozenset(exclude)
        self.slow_seconds = slow_ms / 1000
        self.payload_values = frozenset(payload_values)
        self.request_id_header = request_id_header.lower()
        self.id_headers = frozenset({b"x-trace-id", self.request_id_header.encode()})
        self.trust_client_ids = trust_client_ids
        self.server_timing = server_timing
        self._open = 0  # requests and websockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; raise the exceptions of the application again for the server."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        elif kind not in {"http", "websocket"} or _OBSERVED in scope:
            await self.app(scope, receive, send)
        else:
            cycle = _HttpCycle(self, scope, send) if kind == "http" else _WebSocketCycle(self, scope, send)
            self._open += 1
            try:
                await cycle.run(receive)
            finally:
                self._open -= 1

    def start_trace(self, scope: Scope) -> TraceContext:
        """Return the ids of a new request."""
        if self.trust_client_ids:
            return extract(scope["headers"], self.request_id_header, self.metrics.reject_id)
        return TraceContext(new_trace_id(), new_span_id(), request_id_header=self.request_id_header)

    def route(self, scope: Scope, entry: Scope) -> str:
        """Return the template of the route; `unmatched` if there are too many."""
        template = route_template(scope, entry, self._paths)
        if template not in self._templates:
            if len(self._templates) >= _MAX_TEMPLATES:
                return UNMATCHED
            self._templates.add(template)
        return template

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_after_requests() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # uvicorn has cancelled the requests that are still open, such as streams, and does not wait for them:
                # the process would end before they are logged.
                for _ in range(_SHUTDOWN_TURNS):
                    if not self._open:
                        break
                    await sleep(_SHUTDOWN_TURN_SECONDS)
            return message

        async def send_and_log(message: Message) -> None:
            kind = message["type"]
            if kind == "lifespan.startup.complete":
                restore_logging()
                logger.info("Service started", extra={"event": "service.started"})
            elif kind == "lifespan.shutdown.complete":
                logger.info("Service stopped", extra={"event": "service.stopped", "totals": self.metrics.totals()})
            else:
                # The message is a traceback of many lines, which the server would log as text.
                message = {**message, "message": ""}
                _log_lifespan_failure("start" if kind == "lifespan.startup.failed" else "stop")
            await send(message)

        restore_logging()
        try:
            self.lag_monitor.start()
        except RuntimeError:  # no running event loop
            logger.critical("Service cannot start: the server does not run on asyncio; use its asyncio worker")
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "asyncio is needed"})
            return
        try:
            await self.app(scope, receive_after_requests, send_and_log)
        finally:
            self.lag_monitor.stop()


class _Cycle:
    """What HTTP requests and websockets have in common."""

    def __init__(self, middleware: ObservabilityMiddleware, scope: Scope, send: Send) -> None:
        self.started = perf_counter()
        middleware.lag_monitor.start()
        self.middleware = middleware
        self.context = RequestContext(middleware.start_trace(scope), self.report)
        self.entry = scope
        self.scope = self._inner_scope(scope)
        self.send = send
        self.send_error: OSError | None = None  # how a server reports that the client has left (ASGI 2.4)
        self.reported: list[BaseException] = []

    def _inner_scope(self, scope: Scope) -> Scope:
        inner: Scope = {**scope, _OBSERVED: True}
        # Where OpenTelemetry's middleware is inside of this one, it continues this trace.
        trace = self.context.trace
        if not trace.remote and (parent := traceparent(trace)) is not None:
            headers = [header for header in scope["headers"] if header[0] != b"traceparent"]
            inner["headers"] = [*headers, (b"traceparent", parent.encode())]
        return inner

    def report(self, exc: BaseException, message: str) -> None:
        """Log an exception as the failure of this request, once."""
        if any(exc is reported for reported in self.reported):
            return
        self.reported.append(exc)
        fields = {
            "event": "request.failed",
            "method": _known_method(self.scope),
            "route": self.route(),
            "payload": self.describe_payload(),
        }
        _log(logger, logging.ERROR, message, {**self.context.annotations, **fields}, exc)

    def route(self) -> str:
        return self.middleware.route(self.scope, self.entry)

    def describe_payload(self) -> dict[str, object]:
        return {}

    def is_disconnect(self, exc: BaseException, *, disconnected: bool) -> bool:
        """Return whether an exception only means that the client has left."""
        return exc is self.send_error or (disconnected and type(exc).__name__ in _DISCONNECT_ERRORS)

    def finished_fields(self, fields: dict[str, object], ended: float) -> dict[str, object]:
        """Add the annotations and timings of the request; they cannot replace `fields`."""
        if (request_id := self.context.trace.request_id) is not None:
            fields["request_id"] = request_id
        if lag := self.middleware.lag_monitor.longest_block(self.started, ended):
            fields["loop_lag_ms"] = round(lag * 1000, 3)
        if self.context.annotations or self.context.timings:
            for key, value in self.context.fields().items():
                fields.setdefault(key, value)
        return fields

    def with_ids(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return response headers with the ids, each exactly once."""
        trace = self.context.trace
        ids = [(b"x-trace-id", trace.trace_id.encode())]
        if trace.request_id is not None:
            ids.append((trace.request_id_header.encode(), trace.request_id.encode()))
        ours = self.middleware.id_headers
        return ids + [header for header in headers if header[0].lower() not in ours]

    def close(self) -> None:
        """Stop recording: a task that outlives the request must not use more memory."""
        self.context.closed = True
        self.context.report = None


class _HttpCycle(_Cycle):
    """One HTTP request: its body, its response and its end."""

    def __init__(self, middleware: ObservabilityMiddleware, scope: Scope, send: Send) -> None:
        super().__init__(middleware, scope, send)
        self.payload: Payload | None = None
        self.status = 0  # of the response, once it has started
        self.chunks = 0  # of the body, without empty ones
        self.first_byte = 0.0  # when the first part of the body was sent; until then, when the response started
        self.ended_early = ""  # the outcome, if the client left or the request was cancelled
        self.finished = False

    async def run(self, receive: Receive) -> None:
        """Run the application."""

        async def receive_body() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                if not self.finished:
                    self.ended_early = "client_disconnect"
            elif chunk := message.get("body"):
                self.payload = self.payload or Payload()
                self.payload.add(chunk)
            return message

        token = current.set(self.context)
        in_flight = self.middleware.metrics.in_flight
        in_flight.inc()
        try:
            await self.middleware.app(self.scope, receive_body, self.send_response)
            if not self.finished and not self.ended_early:
                msg = "The application returned before its response was complete."
                raise RuntimeError(msg)  # noqa: TRY301 - handled like an error of the application
        except BaseException as exc:
            await self._handle(exc)
            raise
        finally:
            self.finish()
            self.close()
            in_flight.dec()
            current.reset(token)

    async def send_response(self, message: Message) -> None:
        """Send a part of the response, with the ids in its headers."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            headers = self.with_ids(message.get("headers", ()))
            if self.middleware.server_timing:
                headers.append((b"server-timing", b"app;dur=%.3f" % ((perf_counter() - self.started) * 1000)))
            message = {**message, "headers": headers}
        try:
            await self.send(message)
        except OSError as exc:
            self.send_error = exc
            raise
        if kind == "http.response.start":
            self.first_byte = perf_counter()
        elif kind in _BODY_MESSAGES:
            if message.get("body"):
                self.chunks += 1
                if self.chunks == 1:
                    self.first_byte = perf_counter()
            if not message.get("more_body"):
                self.finish()

    async def _handle(self, exc: BaseException) -> None:
        logged_exception.set(exc)
        if isinstance(exc, CancelledError | GeneratorExit):
            self.ended_early = self.ended_early or "cancelled"
        elif self.is_disconnect(exc, disconnected=self.ended_early != ""):
            self.ended_early = self.ended_early or "client_disconnect"
        else:
            self.report(exc, "Request failed")
            if not self.status and not self.ended_early and isinstance(exc, Exception):
                headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
                with suppress(OSError):
                    await self.send_response({"type": "http.response.start", "status": 500, "headers": headers})
                    await self.send_response({"type": "http.response.body", "body": b"Internal Server Error"})

    def finish(self) -> None:
        """Log and observe the request, at the last byte of the response or when the application ends without it."""
        if self.finished:
            return
        self.finished = True
        ended = perf_counter()
        middleware, route = self.middleware, self.route()
        status, outcome = self._result()
        if status < 400 and route in middleware.exclude:  # noqa: PLR2004 - HTTP
            return
        # The latency of a stream is the time to its first byte: it may stay open for an hour.
        streamed = self.chunks > 1 or (self.first_byte > 0 and ended - self.first_byte >= _STREAM_SECONDS)
        seconds = round((self.first_byte if streamed else ended) - self.started, 6)
        fields: dict[str, object] = {
            "event": "request.finished",
            "method": (method := _known_method(self.scope)),
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "outcome": outcome,
        }
        if streamed:
            fields["stream_ms"] = round((ended - self.started) * 1000, 3)
        slow = seconds >= middleware.slow_seconds
        if slow and self.payload is not None:
            fields["payload"] = self.describe_payload()
        # A client that tries every method on every path must not create a time series for each.
        declared = route != UNMATCHED and status != _METHOD_NOT_ALLOWED
        trace = self.context.trace
        try:
            exemplar = {"trace_id": trace.trace_id, "span_id": trace.span_id}
            middleware.metrics.observe(method if declared else "OTHER", route, status, seconds, exemplar)
        except Exception:  # noqa: BLE001 - metrics must not break the response
            log_records_failed.inc()
        level = logging.WARNING if slow or outcome == "server_error" else logging.INFO
        _log(access_logger, level, "Request finished", self.finished_fields(fields, ended))

    def _result(self) -> tuple[int, str]:
        if self.ended_early:
            return _CLIENT_CLOSED_REQUEST, self.ended_early
        status = self.status or 500
        if status >= 500 or self.reported:  # noqa: PLR2004 - HTTP
            return status, "server_error"
        return status, "client_error" if status >= 400 else "ok"  # noqa: PLR2004 - HTTP

    def describe_payload(self) -> dict[str, object]:
        """Describe the body as far as the application has read it."""
        if self.payload is None:
            return {}
        return self.payload.describe(self.entry["headers"], self.middleware.payload_values)


class _WebSocketCycle(_Cycle):
    """One websocket: the id in its handshake, and one line when it is closed."""

    def __init__(self, middleware: ObservabilityMiddleware, scope: Scope, send: Send) -> None:
        super().__init__(middleware, scope, send)
        self.accepted = False
        self.code = 0
        self.outcome = ""

    async def run(self, receive: Receive) -> None:
        """Run the application."""

        async def receive_message() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._end(message.get("code") or _NO_CODE)
            return message

        token = current.set(self.context)
        try:
            await self.middleware.app(self.scope, receive_message, self.send_message)
        except BaseException as exc:
            self._handle(exc)
            raise
        finally:
            self._finish()
            self.close()
            current.reset(token)

    async def send_message(self, message: Message) -> None:
        """Send a message, with the ids in the handshake's response, also where it is refused."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.accepted = True
            message = {**message, "headers": self.with_ids(message.get("headers", ()))}
        elif kind == "websocket.http.response.start":
            message = {**message, "headers": self.with_ids(message.get("headers", ()))}
            self._end(_POLICY_VIOLATION)
        elif kind == "websocket.close":
            self._end(message.get("code", _NORMAL) if self.accepted else _POLICY_VIOLATION)
            if not self.accepted and "websocket.http.response" in (self.scope.get("extensions") or {}):
                # The server would answer 403 without headers; this is the same response with the id.
                headers = self.with_ids([(b"content-length", b"0")])
                await self.send({"type": "websocket.http.response.start", "status": 403, "headers": headers})
                message = {"type": "websocket.http.response.body", "body": b""}
        try:
            await self.send(message)
        except OSError as exc:
            self.send_error = exc
            self._end(_ABNORMAL)
            raise

    def _end(self, code: int) -> None:
        if not self.code:
            self.code = code
            fine = code in {_NORMAL, _GOING_AWAY, _NO_CODE}
            self.outcome = "ok" if fine else "client_disconnect" if code == _ABNORMAL else "client_error"

    def _handle(self, exc: BaseException) -> None:
        logged_exception.set(exc)
        if isinstance(exc, CancelledError | GeneratorExit):
            self.code, self.outcome = self.code or _GOING_AWAY, self.outcome or "cancelled"
        elif not self.is_disconnect(exc, disconnected=self.code != 0):
            self.report(exc, "WebSocket failed")

    def _finish(self) -> None:
        if self.reported:
            self.code, self.outcome = _INTERNAL_ERROR, "server_error"
        self._end(_NORMAL if self.accepted else _POLICY_VIOLATION)
        ended = perf_counter()
        fields: dict[str, object] = {
            "event": "websocket.closed",
            "route": self.route(),
            "code": self.code,
            "duration_ms": round((ended - self.started) * 1000, 3),
            "outcome": self.outcome,
        }
        level = logging.WARNING if self.outcome == "server_error" else logging.INFO
        _log(access_logger, level, "WebSocket closed", self.finished_fields(fields, ended))


def _known_method(scope: Scope) -> str:
    method: str = scope.get("method", "GET")  # a websocket has none
    return method if method in _METHODS else "OTHER"


def _log(
    to: logging.Logger, level: int, message: str, fields: dict[str, object], exc: BaseException | None = None
) -> None:
    """Log, and count a lost record: a filter that raises must not break the response."""
    try:
        to.log(level, message, exc_info=exc, extra=fields)
    except Exception:  # noqa: BLE001 - filters and handlers of the application may raise anything
        log_records_failed.inc()


def _log_lifespan_failure(verb: str) -> None:
    exc = sys.exc_info()[1]
    # In full, without `safe_exceptions`: the message is needed to repair the service.
    logger.critical("Service cannot %s", verb, extra=describe_exception(exc) if exc is not None else None)
    logged_exception.set(exc)
