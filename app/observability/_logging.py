"""Sink: the lines that every request may have."""

from collections.abc import Mapping
from time import time

from ._event import RequestFailed, RequestFinished, WebSocketClosed
from ._failure import error_type, stack
from ._identity import Identity
from ._json import encode, text_of
from ._lines import ALWAYS, Lines

_ERROR = 500
_LOGGER = "observability"
_FINISHED = ALWAYS | {"event", "request_id", "method", "route", "status", "duration_ms", "outcome"}


class LogSink:
    """Write the lines that every request may have, past `logging`: no level, and no other library, may drop them."""

    def __init__(self, lines: Lines, own_errors: tuple[type[BaseException], ...]) -> None:
        """Tell the texts of `own_errors`, and of no other exception."""
        self._lines = lines
        self._own_errors = own_errors
        self._routes: dict[str, str] = {}  # as JSON; they are few

    def finished(self, event: RequestFinished) -> None:
        """Write `request.finished`."""
        identity, method, route, status, duration, outcome, noted = event
        quoted = self._routes.get(route)
        if quoted is None:
            quoted = self._routes[route] = encode({"route": route}, self._lines.room).decode()[1:-1]
        # By hand: none of it needs an escape, and every request pays for this line.
        text = (
            f'"logger":"{_LOGGER}","message":"Request finished","event":"request.finished","method":"{method}",'
            f'{quoted},"status":{status},"duration_ms":{duration * 1000:.3f},"outcome":"{outcome}"'
        )
        if identity[2] is not None:
            text = f'{text},"request_id":"{identity[2]}"'
        if noted and (more := {name: value for name, value in noted.items() if name not in _FINISHED}):
            text = f"{text},{encode(more, self._lines.room - len(text.encode()) - 1)[1:-1].decode()}"
        self._lines.write(time(), "warning" if status >= _ERROR else "info", identity, text + "}")

    def failed(self, event: RequestFailed) -> None:
        """Write `request.failed`; what the application says of its own error is the message."""
        error = event.error
        fields: dict[str, object] = {
            "event": "request.failed",
            "method": event.method,
            "route": event.route,
            "error_type": error_type(error),
            "stack": stack(error),
            "payload": event.payload,
        }
        message = "Request failed"
        if isinstance(error, self._own_errors):
            message = fields["error_message"] = text_of(error)
        self._write("error", event.identity, message, fields, event.fields)

    def closed(self, event: WebSocketClosed) -> None:
        """Write `websocket.closed`."""
        fields: dict[str, object] = {
            "event": "websocket.closed",
            "route": event.route,
            "code": event.code,
            "duration_ms": round(event.duration * 1000, 3),
            "outcome": event.outcome,
        }
        self._write("info", event.identity, "WebSocket closed", fields, event.fields)

    def _write(
        self, level: str, identity: Identity, message: str, fields: dict[str, object], noted: Mapping[str, object]
    ) -> None:
        more = {name: value for name, value in noted.items() if name not in fields and name not in ALWAYS}
        says = encode({"logger": _LOGGER, "message": message, **fields, **more}, self._lines.room)
        self._lines.write(time(), level, identity, says[1:].decode())
