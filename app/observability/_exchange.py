"""One request on its way through: what was received, what was sent, how it ended."""

from asyncio import CancelledError
from contextlib import suppress
from time import perf_counter

from ._asgi import Message, Receive, Scope, Send
from ._context import RequestContext
from ._event import RequestFailed, RequestFinished
from ._eventloop import BEFORE, STALL
from ._failure import is_disconnect, mark_as_told
from ._observer import Observer
from ._propagation import with_ids
from ._received import Received
from ._routes import route_template

# An application that answers sooner has hardly let the event loop run, which alone learns of a client that left.
_SOON = 0.001  # seconds
_ENDS = frozenset({"http.response.body", "http.response.pathsend"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_FIRST_CLIENT_ERROR = 400
_CLIENT_GONE = 499  # nginx's number for a client that closed the connection
_FIRST_SERVER_ERROR = 500


class Exchange(Received):
    """One request on its way through: what was received, what was sent, how it ended."""

    __slots__ = (
        "_observer", "_refusal", "_root_path", "_scope", "_send", "_started", "_status", "_told", "context",
    )  # fmt: skip

    def __init__(self, observer: Observer, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = started = perf_counter()
        if started > observer.heartbeat.due:
            observer.heartbeat.watch()
        observer.metrics.in_flight += 1
        super().__init__(scope["headers"], receive)
        self.context = RequestContext(observer.identify(scope["headers"]))
        self._observer = observer
        self._scope = scope
        self._send = send
        self._root_path: str = scope.get("root_path", "")
        self._status = 0
        self._told = 0  # so many of the failures
        self._refusal: OSError | None = None  # of the server, to send to a client that is gone

    async def send(self, message: Message) -> None:
        """Hand on the response, with the id in its head; the last body byte ends the request."""
        kind = message["type"]
        if kind == "http.response.start":
            taken = perf_counter() - self._started
            if taken > _SOON:
                self.look_ahead()
            self._status = message["status"]
            headers = with_ids(message.get("headers", ()), self.context.identity)
            if self._observer.server_timing:
                headers.append((b"server-timing", b"app;dur=%.3f" % (taken * 1000)))
            message = {**message, "headers": headers}
        try:
            await self._send(message)
        except OSError as exc:  # how ASGI says since version 2.4 that nobody listens
            self.gone, self._refusal = "client_disconnect", exc
            raise
        if not message.get("more_body") and kind in _ENDS and not self.finished:
            self.finish()

    def check_answered(self) -> None:
        """Raise where an application is done before its response is, although the client is there."""
        if not self.gone:
            msg = "The application returned before it had answered."
            raise RuntimeError(msg)

    async def fail(self, exc: BaseException) -> None:
        """Take the exception that left the application; answer 500 if nobody has answered yet."""
        cancelled = isinstance(exc, CancelledError)
        if cancelled:
            self.gone = self.gone or "cancelled"
        if cancelled or exc is self._refusal or (self.gone and is_disconnect(exc)):
            mark_as_told(exc)  # by the outcome: it is no failure, and the server need not tell it as one
            return
        self.context.fail(exc)
        if self._status == 0 and not self.gone:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
            with suppress(OSError):
                await self.send({"type": "http.response.start", "status": _FIRST_SERVER_ERROR, "headers": headers})
                await self.send({"type": "http.response.body", "body": b"Internal Server Error"})
        self._tell_failures(self._route())

    def finish(self) -> None:
        """Tell of the request; to be called once, at the last body byte or when the application is done without one."""
        self.finished = True
        started, ended = self._started, perf_counter()
        observer, context = self._observer, self.context
        observer.metrics.in_flight -= 1
        route = self._route()
        if context.failures:
            self._tell_failures(route)
        status, outcome = self._result()
        if status < _FIRST_CLIENT_ERROR and route in observer.quiet:
            return
        fields = context.noted() if context.timings else context.annotations
        heartbeat = observer.heartbeat
        if ended > heartbeat.due + STALL or heartbeat.stalled > started - BEFORE:
            fields = fields | heartbeat.fields(started, ended)
        duration = round(ended - started, 6)
        observer.finished(RequestFinished(context.identity, self._method(), route, status, duration, outcome, fields))

    def _result(self) -> tuple[int, str]:
        if self.gone:
            return _CLIENT_GONE, self.gone
        status = self._status or _FIRST_SERVER_ERROR
        if status >= _FIRST_SERVER_ERROR or self.context.failures:
            return status, "server_error"
        return status, "client_error" if status >= _FIRST_CLIENT_ERROR else "ok"

    def _tell_failures(self, route: str) -> None:
        context = self.context
        news, self._told = context.failures[self._told :], len(context.failures)
        payload = self.facts(self._observer.payload_values)
        for exc in news:
            mark_as_told(exc)
            self._observer.failed(
                RequestFailed(context.identity, self._method(), route, exc, payload, {**context.annotations})
            )

    def _method(self) -> str:
        method: str = self._scope["method"]
        return method if method in _METHODS else "OTHER"

    def _route(self) -> str:
        return route_template(self._scope, self._root_path, self._observer.routes)
