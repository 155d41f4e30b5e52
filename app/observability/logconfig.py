"""configure_logging: write all log lines of the process to stdout as JSON, with one `logging.config` dictionary."""

import atexit
import io
import logging
import logging.config
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TextIO

from .formatter import JsonFormatter, describe_exception, level_name
from .metrics import log_records, log_records_failed
from .propagation import active_trace

logger = logging.getLogger("observability")

#: The logger of `request.finished` and `websocket.closed`. Its level does not depend on that of the root logger.
ACCESS_LOGGER = "observability.access"

# Servers install handlers of their own on these loggers, which would write plain text.
_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "gunicorn.error", "hypercorn.error", "_granian", "_granian.utils")
# Their lines have no duration, and they contain the query string. `request.finished` replaces them.
_ACCESS_LOGGERS = ("uvicorn.access", "gunicorn.access", "hypercorn.access", "granian.access")

# The exception that the middleware has logged in this context. The server would log it again.
logged_exception: ContextVar[BaseException | None] = ContextVar("logged_exception", default=None)


_handlers: "weakref.WeakSet[CountingStreamHandler]" = weakref.WeakSet()
_acquired: "list[CountingStreamHandler]" = []


class CountingStreamHandler(logging.StreamHandler[TextIO]):
    """Write records to a stream; count them in `log_records_total` and `log_records_failed_total`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, or to stderr."""
        super().__init__(stream)
        _handlers.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a full disk or a closed pipe must not stop the application."""
        try:
            self.stream.write(self.format(record) + self.terminator)
            self.stream.flush()
        except Exception:  # noqa: BLE001 - a stream may raise anything
            self.handleError(record)
        else:
            log_records.lines[level_name(record.levelno)] += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's names
        """Count the lost record; the method of `logging` would print a traceback to stderr."""
        log_records_failed.inc()


def _acquire_handlers() -> None:
    for handler in list(_handlers):
        handler.acquire()
        _acquired.append(handler)


def _release_handlers() -> None:
    while _acquired:
        _acquired.pop().release()


# A fork waits until no thread is writing a line. The stream's own lock would otherwise stay locked in the child, which
# would wait for it forever. In the child, logging replaces the locks of the handlers.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_handlers, after_in_parent=_release_handlers, after_in_child=_acquired.clear)


def logging_config(
    service: str,
    instance: str = "-",
    *,
    level: str | int = "INFO",
    safe_exceptions: Sequence[type[BaseException]] | None = None,
    stream: TextIO | None = None,
) -> dict[str, Any]:
    """Return the dictionary that `configure_logging` applies, to be changed or merged into another one."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": JsonFormatter, "service": service, "instance": instance, "safe_exceptions": safe_exceptions}
        },
        "filters": {"server": {"()": lambda: _filter_server_record}, "drop": {"()": lambda: _drop}},
        "handlers": {
            "stdout": {"()": CountingStreamHandler, "stream": stream or sys.stdout, "formatter": "json"},
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            ACCESS_LOGGER: {"level": "INFO"},
            **{name: {"handlers": [], "propagate": True, "filters": ["server"]} for name in _SERVER_LOGGERS},
            **{name: {"handlers": [], "propagate": False, "filters": ["drop"]} for name in _ACCESS_LOGGERS},
        },
    }


def configure_logging(
    service: str,
    instance: str = "-",
    *,
    level: str | int = "INFO",
    safe_exceptions: Sequence[type[BaseException]] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Write every log record, warning and uncaught exception of this process to stdout as JSON.

    Call it before the first record. A later call replaces the configuration.
    Args:
        service: the same name as Prometheus's `job`.
        instance: `ip:port`, the same as Prometheus's `instance`.
        level: the level of the root logger.
        safe_exceptions: the exceptions whose messages are logged; by default, all.
        stream: where to write; stdout by default.
    """
    stream = stream or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8")
    config = logging_config(service, instance, level=level, safe_exceptions=safe_exceptions, stream=stream)
    logging.config.dictConfig(config)
    configured[:] = [config]
    add_ids_to_records()
    logging.captureWarnings(capture=True)
    _install_hooks()


#: The dictionary of the last `configure_logging`, if there was one.
configured: list[dict[str, Any]] = []


def restore_logging() -> None:
    """Restore the configuration after a server or a library has replaced it, such as Alembic by `fileConfig`.

    Do nothing if `configure_logging` was not called. Where the root logger has another handler with a `JsonFormatter`,
    the application has replaced the configuration itself, and only the servers' handlers are removed.
    """
    root = logging.getLogger()
    if not configured:
        return
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        logging.config.dictConfig(configured[0])  # also enables loggers that were disabled, and sets levels
        logger.info("Logging configuration restored: another one had replaced it")
    for name in _SERVER_LOGGERS:
        server_logger = logging.getLogger(name)
        server_logger.handlers.clear()
        server_logger.propagate = True


def add_ids_to_records() -> None:
    """Give every new log record the attributes `trace_id` and `span_id`.

    The ids are read when the record is created, so they are also correct behind a `QueueHandler`. The previous record
    factory is still called.
    """
    make_record = logging.getLogRecordFactory()
    if not isinstance(make_record, _RecordFactory):
        logging.setLogRecordFactory(_RecordFactory(make_record))


class _RecordFactory:
    def __init__(self, previous: Callable[..., logging.LogRecord]) -> None:
        self._previous = previous

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - logging's arguments
        record = self._previous(*args, **kwargs)
        trace = active_trace()
        record.trace_id = trace.trace_id
        record.span_id = trace.span_id
        return record


def _filter_server_record(record: logging.LogRecord) -> bool:
    """Drop an exception that the middleware has logged; write everything else in our format."""
    loggers = logging.getLogger(record.name), logging.getLogger(record.name.partition(".")[0])
    if any(each.handlers or not each.propagate for each in loggers):
        restore_logging()
    logged = logged_exception.get()
    if logged is None:
        return True
    if record.exc_info:
        return record.exc_info[1] is not logged
    # Granian writes the traceback into the message.
    return "Traceback" not in str(record.msg) or type(logged).__name__ not in record.getMessage()


def _drop(_: logging.LogRecord) -> bool:
    return False


def _install_hooks() -> None:
    """Log uncaught exceptions, and still call the previous hooks."""
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook, sys.__excepthook__)
        threading.excepthook = _ThreadHook(threading.excepthook, threading.__excepthook__)
        sys.unraisablehook = _ThreadHook(sys.unraisablehook, sys.__unraisablehook__)
        atexit.register(_discard_output)


class _Hook:
    def __init__(self, previous: Callable[..., object], default: Callable[..., object]) -> None:
        self._previous = None if previous is default else previous  # the default prints a traceback on stderr

    def __call__(self, kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None) -> None:
        # Ctrl-C and `sys.exit` are ordinary ways to end a process or a thread.
        if not issubclass(kind, KeyboardInterrupt | SystemExit):
            # In full, without `safe_exceptions`: this ends the process.
            described = describe_exception((exc or kind()).with_traceback(trace))
            logger.critical("Uncaught exception", extra=described)
        if self._previous is not None:
            self._previous(kind, exc, trace)


class _ThreadHook(_Hook):
    def __call__(self, args: Any) -> None:  # type: ignore[override]  # noqa: ANN401 - both have these attributes
        if not issubclass(args.exc_type, KeyboardInterrupt | SystemExit):
            exc = args.exc_value or args.exc_type()
            logger.critical("Uncaught exception", exc_info=(args.exc_type, exc, args.exc_traceback))
        if self._previous is not None:
            self._previous(args)


def _discard_output() -> None:
    """Drop output that a full disk or a closed pipe does not accept: at exit, Python would print a traceback."""
    with suppress(Exception):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
