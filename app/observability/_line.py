"""A record -> one JSON object on one physical line, with the id of the request that it belongs to."""

import logging
from threading import Lock
from time import gmtime, strftime
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS, BaseJsonFormatter

from ._context import current_request
from ._failure import error_type, stack
from ._json import encode, plain

#: No line is longer, newline included: Docker would cut it in two at 16 KiB, and neither half would be JSON.
LONGEST_LINE = 8 * 1024

#: The attribute of a record that carries an event's fields; whatever their names, they clash with no other attribute.
FIELDS = "_fields"
_RESERVED = frozenset(RESERVED_ATTRS) | {FIELDS, "color_message"}  # the latter is uvicorn's message with colours
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}


def level_of(record: logging.LogRecord) -> str:
    """Return the record's level in the words of the lines."""
    return _LEVELS.get(record.levelname, "info")


class Clock:
    """Times as lines have them: RFC 3339 in UTC with microseconds, and never the same twice.

    Loki tells equal lines of one stream apart by their time alone.
    """

    def __init__(self) -> None:
        """Begin in 1970."""
        self._lock = Lock()
        self._last = 0  # in microseconds
        self._second = (0, "")

    def stamp(self, created: float) -> str:
        """Return the time `created`, in seconds since 1970, or the first one after it that is free."""
        with self._lock:
            self._last = max(round(created * 1_000_000), self._last + 1)
            second, microseconds = divmod(self._last, 1_000_000)
            if second != self._second[0]:
                self._second = (second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second)))
            return f"{self._second[1]}.{microseconds:06d}Z"


_clock = Clock()  # one for the process, however often logging is configured


class JsonFormatter(BaseJsonFormatter):
    """Format a record as one line; the id comes from the context, so no caller passes it."""

    def __init__(self, service: str, instance: str) -> None:
        """Name the service and the instance that write the lines."""
        super().__init__()
        self._service = service
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        return self.line(record).decode()

    def line(self, record: logging.LogRecord) -> bytes:
        """Return the line in UTF-8, without its newline."""
        trace_id, span_id, *_ = current_request().identity
        fields = record.__dict__.get(FIELDS)
        always = {
            "timestamp": _clock.stamp(record.created),
            "level": level_of(record),
            "service": self._service,
            "instance": self._instance,
            "logger": record.name,
            "trace_id": trace_id,
            "span_id": span_id,
            "message": _message(record),
        }
        # Twice: the fields of every line come first, and nothing replaces them.
        return encode({**always, **(_extra(record) if fields is None else fields), **always}, LONGEST_LINE - 1)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or an object without a text
        return f"A message that cannot be formatted: {plain(record.msg)}"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    fields = {key: value for key, value in record.__dict__.items() if key not in _RESERVED}
    if record.exc_info and (exc := record.exc_info[1]) is not None:
        fields |= {"error_type": error_type(exc), "stack": stack(exc)}
    return fields
