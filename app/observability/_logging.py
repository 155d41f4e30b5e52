"""Sink: the lines that every request may have."""

import logging
from collections.abc import Mapping
from time import time

from ._event import RequestFailed, RequestFinished, WebSocketClosed
from ._failure import error_type, stack
from ._line import FIELDS

_ERROR = 500

logger = logging.getLogger("observability")


class LogSink:
    """Write the lines that every request may have."""

    def __init__(self, own_errors: tuple[type[BaseException], ...]) -> None:
        """Tell the texts of `own_errors`, and of no other exception."""
        self._own_errors = own_errors
        # Records are copies of these: `logger.log` would look for the calling line, which says nothing here.
        self._records = {level: _record(level) for level in (logging.INFO, logging.WARNING, logging.ERROR)}

    def finished(self, event: RequestFinished) -> None:
        """Write `request.finished`."""
        identity, method, route, status, duration, outcome, noted = event
        fields: dict[str, object] = {"event": "request.finished"}
        if identity.request_id is not None:
            fields["request_id"] = identity.request_id
        fields |= {
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(duration * 1000, 3),
            "outcome": outcome,
        }
        self._write(logging.WARNING if status >= _ERROR else logging.INFO, "Request finished", fields, noted)

    def failed(self, event: RequestFailed) -> None:
        """Write `request.failed`; what the application said of its own error is the message."""
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
            message = fields["error_message"] = str(error)
        self._write(logging.ERROR, message, fields, event.fields)

    def closed(self, event: WebSocketClosed) -> None:
        """Write `websocket.closed`."""
        fields: dict[str, object] = {
            "event": "websocket.closed",
            "route": event.route,
            "code": event.code,
            "duration_ms": round(event.duration * 1000, 3),
            "outcome": event.outcome,
        }
        self._write(logging.INFO, "WebSocket closed", fields, event.fields)

    def _write(self, level: int, message: str, fields: dict[str, object], noted: Mapping[str, object]) -> None:
        if not logger.isEnabledFor(level):
            return
        created = time()
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__ = {
            **self._records[level].__dict__,
            "msg": message,
            "created": created,
            "msecs": int(created % 1 * 1000),
            FIELDS: {**fields, **noted, **fields},
        }
        logger.handle(record)


def _record(level: int) -> logging.LogRecord:
    return logger.makeRecord(logger.name, level, __file__, 0, "", (), None)
