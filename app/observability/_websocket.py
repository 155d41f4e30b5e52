"""One websocket on its way through: it gets the id, and one line when it is closed."""

from asyncio import CancelledError
from time import perf_counter

from ._asgi import ASGIApp, Message, Receive, Scope, Send
from ._context import RequestContext, enter_request, leave_request
from ._event import RequestFailed, WebSocketClosed
from ._failure import is_disconnect, mark_as_told
from ._observer import Observer
from ._propagation import with_ids
from ._routes import route_template

# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
_NORMAL, _GOING_AWAY, _NO_CODE, _ABNORMAL, _REFUSED, _INTERNAL_ERROR = 1000, 1001, 1005, 1006, 1008, 1011
_FINE = frozenset({_NORMAL, _GOING_AWAY, _NO_CODE})
_HEADS = frozenset({"websocket.accept", "websocket.http.response.start"})


class WebSocket:
    """One websocket: whether it was accepted, and how it was closed."""

    def __init__(self, observer: Observer, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        self._observer = observer
        self._context = RequestContext(observer.identify(scope["headers"]))
        self._scope = scope
        self._receive = receive
        self._send = send
        self._root_path: str = scope.get("root_path", "")
        self._accepted = False
        self._refusal: OSError | None = None  # of the server, to send to a client that is gone
        self._code = 0
        self._outcome = ""

    async def run(self, app: ASGIApp) -> None:
        """Have the application serve it; whatever happens, tell of it once, and let exceptions pass."""
        token = enter_request(self._context)
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as exc:
            self._fail(exc)
            raise
        finally:
            self._close()
            leave_request(token)

    async def receive(self) -> Message:
        """Hand on what the client sends; its goodbye has a code."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._end(message.get("code", _NO_CODE))
        return message

    async def send(self, message: Message) -> None:
        """Hand on what the application sends, with the id in the head of it."""
        kind = message["type"]
        if kind in _HEADS:
            self._accepted = kind == "websocket.accept"
            message = {**message, "headers": with_ids(message.get("headers", ()), self._context.identity)}
        elif kind == "websocket.close":
            self._end(message.get("code", _NORMAL) if self._accepted else _REFUSED)
        try:
            await self._send(message)
        except OSError as exc:
            self._refusal = exc
            self._end(_ABNORMAL)
            raise

    def _end(self, code: int) -> None:
        if not self._code:
            self._code = code
            self._outcome = "ok" if code in _FINE else "client_disconnect" if code == _ABNORMAL else "client_error"

    def _fail(self, exc: BaseException) -> None:
        cancelled = isinstance(exc, CancelledError)
        if cancelled:
            self._code, self._outcome = self._code or _GOING_AWAY, self._outcome or "cancelled"
        if cancelled or exc is self._refusal or (self._code and is_disconnect(exc)):
            mark_as_told(exc)  # by the outcome: it is no failure, and the server need not tell it as one
        else:
            self._context.fail(exc)

    def _close(self) -> None:
        context, route = self._context, route_template(self._scope, self._root_path, self._observer.routes)
        for exc in context.failures:
            self._code, self._outcome = _INTERNAL_ERROR, "server_error"
            mark_as_told(exc)
            self._observer.failed(RequestFailed(context.identity, "GET", route, exc, {}, context.annotations))
        self._end(_NORMAL if self._accepted else _REFUSED)
        duration = round(perf_counter() - self._started, 6)
        self._observer.closed(
            WebSocketClosed(context.identity, route, self._code, duration, self._outcome, context.noted())
        )
