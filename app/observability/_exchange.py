"""One request on its way through: what was received, what was sent, how it ended."""

from asyncio import CancelledError
from collections.abc import Collection, Iterable
from time import perf_counter
from typing import Any, Protocol

from ._asgi import Message, Receive, Scope, Send
from ._context import RequestContext
from ._event import RequestFailed, RequestFinished
from ._failure import PAYLOAD_LIMIT, mark_as_told, payload_facts
from ._routes import route_template

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_FIRST_CLIENT_ERROR = 400
_CLIENT_GONE = 499  # nginx's number for a client that closed the connection
_FIRST_SERVER_ERROR = 500


class Observer(Protocol):
    """What an exchange asks and tells: the rules of its service, and where events go."""

    @property
    def routes(self) -> Collection[str]:
        """Templates that may be told."""

    @property
    def quiet(self) -> Collection[str]:
        """Routes whose successes are not told."""

    @property
    def payload_values(self) -> Collection[str]:
        """Keys of a payload whose values may be told."""

    def reject_id(self, reason: str) -> None:
        """Count an id that was not used."""

    def arrived(self) -> None:
        """Count a request in."""

    def left(self) -> None:
        """Count it out."""

    def finished(self, event: RequestFinished) -> None:
        """Tell the end of a request."""

    def failed(self, event: RequestFailed) -> None:
        """Tell the failure of a request."""


class Exchange:
    """One request on its way through: what was received, what was sent, how it ended."""

    __slots__ = (
        "_body", "_context", "_finished", "_gone", "_observer", "_receive", "_root_path",
        "_scope", "_send", "_size", "_started", "_status", "_told",
    )  # fmt: skip

    def __init__(self, observer: Observer, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        observer.arrived()
        self._observer = observer
        self._context = context
        self._scope = scope
        self._receive = receive
        self._send = send
        self._root_path: str = scope.get("root_path", "")
        self._body = bytearray()
        self._size = 0
        self._status = 0
        self._gone = ""
        self._finished = False
        self._told = 0  # so many of the failures

    async def receive(self) -> Message:
        """Hand on what the client sends; keep the head of it for the case that the request fails."""
        message = await self._receive()
        if message["type"] == "http.request":
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            self._body += chunk[: max(0, PAYLOAD_LIMIT - len(self._body))]
        elif not self._finished:
            self._gone = "client_disconnect"
        return message

    async def send(self, message: Message) -> None:
        """Hand on the response, with the id in its head; the last body byte ends the request."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": self._with_ids(message.get("headers", ()))}
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.finish()

    async def failed(self, exc: BaseException) -> None:
        """Take the exception that left the application; answer 500 if nobody has answered yet."""
        if isinstance(exc, CancelledError):
            self._gone = self._gone or "cancelled"
            return
        if not any(exc is known for known in self._context.failures):
            self._context.failures.append(exc)
        if self._status == 0 and not self._gone:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await self.send({"type": "http.response.start", "status": _FIRST_SERVER_ERROR, "headers": headers})
            await self.send({"type": "http.response.body", "body": b"Internal Server Error"})
        self._tell_failures()

    def finish(self) -> None:
        """Tell of the request once: at the last body byte, or when the application is done without one."""
        if self._finished:
            return
        self._finished = True
        self._observer.left()
        duration = round(perf_counter() - self._started, 6)
        self._tell_failures()
        status, outcome = self._result()
        route = self._route()
        if status < _FIRST_CLIENT_ERROR and route in self._observer.quiet:
            return
        fields = {**self._context.annotations, **_breakdown(self._context.timings)}
        self._observer.finished(
            RequestFinished(self._context.identity, self._method(), route, status, duration, outcome, fields)
        )

    def _result(self) -> tuple[int, str]:
        if self._gone:
            return _CLIENT_GONE, self._gone
        status = self._status or _FIRST_SERVER_ERROR
        if self._context.failures or status >= _FIRST_SERVER_ERROR:
            return status, "server_error"
        return status, "client_error" if status >= _FIRST_CLIENT_ERROR else "ok"

    def _tell_failures(self) -> None:
        identity, news = self._context.identity, self._context.failures[self._told :]
        self._told += len(news)
        for exc in news:
            mark_as_told(exc)
            self._observer.failed(RequestFailed(identity, self._method(), self._route(), exc, self._payload()))

    def _payload(self) -> dict[str, object]:
        headers = self._scope["headers"]
        content_type = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
        return payload_facts(bytes(self._body), self._size, content_type, self._observer.payload_values)

    def _method(self) -> str:
        method: str = self._scope["method"]
        return method if method in _METHODS else "OTHER"

    def _route(self) -> str:
        return route_template(self._scope, self._root_path, self._observer.routes)

    def _with_ids(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        ours = {b"x-trace-id": self._context.identity.trace_id, b"x-request-id": self._context.identity.request_id}
        kept = [header for header in headers if header[0].lower() not in ours]
        return kept + [(name, value.encode("ascii")) for name, value in ours.items() if value is not None]


def _breakdown(timings: Iterable[tuple[str, float]]) -> dict[str, object]:
    """Add the timings up: `<name>_ms` in milliseconds and `<name>_calls`."""
    fields: dict[str, Any] = {}
    for name, seconds in timings:
        fields[f"{name}_ms"] = round(fields.get(f"{name}_ms", 0.0) + seconds * 1000, 3)
        fields[f"{name}_calls"] = fields.get(f"{name}_calls", 0) + 1
    return fields
