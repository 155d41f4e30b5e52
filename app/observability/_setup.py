"""Everything in the process that would write elsewhere, led to the lines: logging, warnings, uncaught exceptions."""

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from ._context import current_request
from ._failure import error_type, stack, was_told
from ._json import encode, text_of
from ._lines import ALWAYS, Lines
from ._observability import Observability

_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
# What a record has itself; `color_message` is uvicorn's message again.
_RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_KEPT = _RESERVED | ALWAYS

#: The loggers that uvicorn sets up for itself.
UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")

logger = logging.getLogger("observability")


class LineHandler(logging.Handler):
    """Make each record a line; the id comes from the context, so no caller passes it."""

    def __init__(self, lines: Lines) -> None:
        """Write to `lines`."""
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        fields = {key: value for key, value in record.__dict__.items() if key not in _KEPT}
        if record.exc_info and (exc := record.exc_info[1]) is not None:
            fields |= {"error_type": error_type(exc), "stack": stack(exc)}
        says = encode({"logger": record.name, "message": _message(record), **fields}, self._lines.room)
        level = _LEVELS.get(record.levelname, "info")
        self._lines.write(record.created, level, current_request().identity, says[1:].decode())


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or an object without a text
        return f"A message that cannot be formatted: {text_of(record.msg)}"


def configure_logging(observability: Observability, stream: TextIO = sys.stdout, level: str = "INFO") -> None:
    """Make every line of this process one JSON object on `stream`: logging, uvicorn, warnings, uncaught exceptions.

    To be called before anything logs, and again when the service knows its name better; the last call counts.
    uvicorn's own set-up is undone, and its access lines are switched off: they come without duration, and with the
    query. A `stream` whose reader pauses makes the service wait, and loses nothing.
    """
    observability.lines.open(stream)
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(observability.lines)]
    root.setLevel(level)
    logging.Logger.makeRecord = _make_record_anyway  # type: ignore[method-assign]
    for name in UVICORN:
        uvicorn = logging.getLogger(name)
        uvicorn.handlers.clear()
        uvicorn.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").addFilter(_not_told_yet)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


_make_record: Callable[..., logging.LogRecord] = logging.Logger.makeRecord


def _make_record_anyway(self: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - as given
    """Make a record also where `extra` has a name that records use themselves, such as `name`: it gets a `_`."""
    try:
        return _make_record(self, *args, **kwargs)
    except KeyError:
        *before, extra, stack_info = args
        record = _make_record(self, *before, None, stack_info)
        for key, value in extra.items():
            record.__dict__[f"{key}_" if key in _RESERVED else key] = value
        return record


def _not_told_yet(record: logging.LogRecord) -> bool:
    return not (record.exc_info and record.exc_info[1] and was_told(record.exc_info[1]))


def _uncaught(kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None) -> None:
    if isinstance(exc, KeyboardInterrupt) or kind is SystemExit:  # how a thread may end as well as a process
        return
    logger.critical("Uncaught exception", exc_info=(kind, exc or kind(), trace))
