"""Sink: one JSON object on one physical line, whatever is logged, and nothing else on the stream."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson
from pythonjsonlogger.core import RESERVED_ATTRS, BaseJsonFormatter

from ._context import current_request
from ._event import RequestFailed, RequestFinished
from ._failure import error_type, stack

#: No line is longer, newline included: Docker would cut it in two at 16 KiB, and neither half would be JSON.
LONGEST_LINE = 8 * 1024

#: The attribute of a record that carries an event's fields; whatever their names, they clash with no other attribute.
_FIELDS = "_fields"
_RESERVED = frozenset(RESERVED_ATTRS) | {_FIELDS, "color_message"}  # the latter is uvicorn's message with colours
_ALWAYS = 8  # the first fields, which every line has
_LONGEST_VALUE = 1000
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
# JSON allows these three raw, but readers that split text into lines do not: they would see more lines than there are.
_SEPARATORS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\u0085": "\\u0085"}
_ERROR = 500

logger = logging.getLogger("observability")


def level_of(record: logging.LogRecord) -> str:
    """Return the record's level in the words of the lines."""
    return _LEVELS.get(record.levelname, "info")


class JsonFormatter(BaseJsonFormatter):
    """Format a record as one line; the id comes from the context, so no caller passes it."""

    def __init__(self, service: str, instance: str) -> None:
        """Name the service and the instance that write the lines."""
        super().__init__()
        self._service = service
        self._instance = instance
        self._last_microsecond = 0

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        line = self._line(record)
        text = _encode(line)
        return text if len(text.encode()) < LONGEST_LINE else _encode(_cut(line))

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        identity = current_request().identity
        line: dict[str, Any] = {
            "timestamp": self._timestamp(record.created),
            "level": level_of(record),
            "service": self._service,
            "instance": self._instance,
            "logger": record.name,
            "trace_id": identity.trace_id,
            "span_id": identity.span_id,
            "message": record.getMessage(),
        }
        for key, value in record.__dict__.get(_FIELDS, {}).items():
            line.setdefault(key, value)
        for key, value in record.__dict__.items():
            if key not in _RESERVED:
                line.setdefault(key, value)
        if record.exc_info and (exc := record.exc_info[1]) is not None:
            line |= {"error_type": error_type(exc), "stack": stack(exc)}
        return line

    def _timestamp(self, created: float) -> str:
        # Loki tells equal lines apart by their time, so none repeats; the handler's lock makes this safe.
        self._last_microsecond = max(round(created * 1_000_000), self._last_microsecond + 1)
        seconds, microseconds = divmod(self._last_microsecond, 1_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z"


def _cut(line: dict[str, Any]) -> dict[str, Any]:
    """Keep the fields that every line has, a piece of the message, and of the rest what is short and fits."""
    kept = {key: line[key] for key in list(line)[:_ALWAYS]}
    kept |= {"message": str(line["message"])[:_LONGEST_VALUE], "truncated": True}
    room = LONGEST_LINE - len(_encode(kept).encode())
    for key in [key for key in line if key not in kept]:
        size = len(_encode({key: line[key]}).encode())
        if size <= min(_LONGEST_VALUE, room - 1):
            kept[key] = line[key]
            room -= size
    return kept


def _encode(line: dict[str, Any]) -> str:
    text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    for separator, escaped in _SEPARATORS.items():
        if separator in text:
            text = text.replace(separator, escaped)
    return text


class LogSink:
    """Write the two lines that every request may have."""

    def __init__(self, own_errors: tuple[type[BaseException], ...]) -> None:
        """Tell the texts of `own_errors`, and of no other exception."""
        self._own_errors = own_errors

    def finished(self, event: RequestFinished) -> None:
        """Write `request.finished`."""
        fields: dict[str, object] = {"event": "request.finished"}
        if event.identity.request_id is not None:
            fields["request_id"] = event.identity.request_id
        fields |= {
            "method": event.method,
            "route": event.route,
            "status": event.status,
            "duration_ms": round(event.duration * 1000, 3),
            "outcome": event.outcome,
        }
        level = logging.WARNING if event.status >= _ERROR else logging.INFO
        logger.log(level, "Request finished", extra={_FIELDS: {**fields, **event.fields, **fields}})

    def failed(self, event: RequestFailed) -> None:
        """Write `request.failed`."""
        fields: dict[str, object] = {
            "event": "request.failed",
            "method": event.method,
            "route": event.route,
            "error_type": error_type(event.error),
            "stack": stack(event.error),
            "payload": event.payload,
        }
        if isinstance(event.error, self._own_errors):
            fields["error_message"] = str(event.error)
        logger.error("Request failed", extra={_FIELDS: fields})
