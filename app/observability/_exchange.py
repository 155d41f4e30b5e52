"""One request on its way through: what was received, what was sent, how it ended."""

from asyncio import CancelledError
from contextlib import suppress
from time import perf_counter
from types import CoroutineType

from ._asgi import ASGIApp, Message, Receive, Scope, Send
from ._context import RequestContext, enter_request, leave_request
from ._event import RequestFailed, RequestFinished
from ._failure import is_disconnect, mark_as_told
from ._observer import Observer
from ._payload import Payload
from ._propagation import with_ids
from ._routes import route_template

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_FIRST_CLIENT_ERROR = 400
_CLIENT_GONE = 499  # nginx's number for a client that closed the connection
_FIRST_SERVER_ERROR = 500


class Exchange:
    """One request on its way through: what was received, what was sent, how it ended."""

    __slots__ = (
        "_ahead", "_context", "_finished", "_gone", "_observer", "_payload", "_receive", "_receiving", "_root_path",
        "_scope", "_send", "_started", "_status", "_told",
    )  # fmt: skip

    def __init__(self, observer: Observer, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        self._observer = observer
        self._context = RequestContext(observer.identify(scope["headers"]))
        self._scope = scope
        self._receive = receive
        self._send = send
        self._root_path: str = scope.get("root_path", "")
        self._payload = Payload(scope["headers"])
        self._ahead: Message | None = None  # received by us, and not yet by the application
        self._receiving = False
        self._status = 0
        self._gone = ""
        self._finished = False
        self._told = 0  # so many of the failures

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer; whatever happens, tell of it once, and let exceptions pass."""
        self._observer.metrics.in_flight += 1
        token = enter_request(self._context)
        try:
            await app(self._scope, self.receive, self.send)
            self._check_answered()
        except BaseException as exc:
            await self._fail(exc)
            raise
        finally:
            self._finish()
            leave_request(token)

    async def receive(self) -> Message:
        """Hand on what the client sends, and look at it."""
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        self._receiving = True
        try:
            message = await self._receive()
        finally:
            self._receiving = False
        self._look_at(message)
        return message

    async def send(self, message: Message) -> None:
        """Hand on the response, with the id in its head; the last body byte ends the request."""
        kind = message["type"]
        if kind == "http.response.start":
            self._look_ahead()
            self._status = message["status"]
            message = {**message, "headers": with_ids(message.get("headers", ()), self._context.identity)}
        try:
            await self._send(message)
        except OSError:  # how ASGI says since version 2.4 that nobody listens
            self._gone = "client_disconnect"
            raise
        if kind == "http.response.pathsend" or (kind == "http.response.body" and not message.get("more_body", False)):
            self._finish()

    def _look_at(self, message: Message) -> None:
        if message["type"] == "http.request":
            self._payload.add(message.get("body", b""))
        elif not self._finished:
            self._gone = "client_disconnect"

    def _look_ahead(self) -> None:
        """Ask the server, without waiting, whether the client left: an application that is busy never does."""
        if self._ahead is not None or self._receiving or self._payload.is_asked_for:
            return
        asked = self._receive()
        if not isinstance(asked, CoroutineType):
            return
        try:
            asked.send(None)
        except StopIteration as answered:
            self._look_at(answered.value)
            if not self._gone:
                self._ahead = answered.value
        else:
            asked.close()  # nothing to tell: the client is there, and waits

    def _check_answered(self) -> None:
        if not self._finished and not self._gone:
            msg = "The application returned before it had answered."
            raise RuntimeError(msg)

    async def _fail(self, exc: BaseException) -> None:
        """Take the exception that left the application; answer 500 if nobody has answered yet."""
        if isinstance(exc, CancelledError):
            self._gone = self._gone or "cancelled"
            return
        if self._gone and is_disconnect(exc):
            return
        self._context.fail(exc)
        if self._status == 0 and not self._gone:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
            with suppress(OSError):
                await self.send({"type": "http.response.start", "status": _FIRST_SERVER_ERROR, "headers": headers})
                await self.send({"type": "http.response.body", "body": b"Internal Server Error"})
        self._tell_failures(self._route())

    def _finish(self) -> None:
        """Tell of the request once: at the last body byte, or when the application is done without one."""
        if self._finished:
            return
        self._finished = True
        ended = perf_counter()
        observer, context = self._observer, self._context
        observer.metrics.in_flight -= 1
        route = self._route()
        self._tell_failures(route)
        status, outcome = self._result()
        if status < _FIRST_CLIENT_ERROR and route in observer.quiet:
            return
        fields = {**context.annotations, **context.breakdown(), **observer.heartbeat.fields(self._started, ended)}
        duration = round(ended - self._started, 6)
        observer.finished(RequestFinished(context.identity, self._method(), route, status, duration, outcome, fields))

    def _result(self) -> tuple[int, str]:
        if self._gone:
            return _CLIENT_GONE, self._gone
        status = self._status or _FIRST_SERVER_ERROR
        if self._context.failures or status >= _FIRST_SERVER_ERROR:
            return status, "server_error"
        return status, "client_error" if status >= _FIRST_CLIENT_ERROR else "ok"

    def _tell_failures(self, route: str) -> None:
        context = self._context
        if self._told == len(context.failures):
            return
        news, self._told = context.failures[self._told :], len(context.failures)
        payload = self._payload.facts(self._observer.payload_values)
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
