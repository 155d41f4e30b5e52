"""The ContextVar that holds the current request, and the functions that add to it."""

import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from time import perf_counter
from typing import NamedTuple, Self

logger = logging.getLogger("observability")

# The attributes of every log record. `extra=` refuses them, and so does `annotate()`.
RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "taskName", "trace_id", "span_id",
}  # fmt: skip


class TraceContext(NamedTuple):
    """The ids of one request.

    `request_id` is the client's own id, if it sent a valid one. `trace_flags` and `tracestate` are passed on to the
    services that this request calls. `remote` is true if the trace id came in a `traceparent` header.
    """

    trace_id: str
    span_id: str
    request_id: str | None = None
    request_id_header: str = "x-request-id"
    trace_flags: str = "01"
    tracestate: str | None = None
    remote: bool = False


class RequestContext:
    """What is known about the current request: its ids, annotations and timings."""

    __slots__ = ("_lock", "annotations", "closed", "report", "timings", "trace")

    def __init__(self, trace: TraceContext, report: Callable[[BaseException, str], None] | None = None) -> None:
        """Start without annotations and timings; `report` logs an exception as the failure of this request."""
        self.trace = trace
        self.report = report
        self.annotations: dict[str, object] = {}
        self.timings: dict[str, tuple[float, int]] = {}  # seconds and calls
        self.closed = False
        self._lock = Lock()  # the threads of one request may end their timers at the same time

    def add_time(self, name: str, seconds: float) -> None:
        """Add the time of one call; do nothing after the request, so that a task that outlives it needs no memory."""
        if not self.closed:
            with self._lock:
                total, calls = self.timings.get(name, (0.0, 0))
                self.timings[name] = (total + seconds, calls + 1)

    def fields(self) -> dict[str, object]:
        """Return the annotations, and `<name>_ms` and `<name>_calls` for each timing."""
        fields = dict(self.annotations)
        with self._lock:
            for name, (seconds, calls) in self.timings.items():
                fields[f"{name}_ms"] = round(seconds * 1000, 3)
                fields[f"{name}_calls"] = calls
        return fields


#: The ids outside of requests. No client can send the trace id `-`.
NO_TRACE = TraceContext("-", "-")
NO_REQUEST = RequestContext(NO_TRACE)
NO_REQUEST.closed = True

current: ContextVar[RequestContext] = ContextVar("request_context", default=NO_REQUEST)

if hasattr(os, "register_at_fork"):
    # The workers of a process pool are forked by one request, and serve all later ones.
    os.register_at_fork(after_in_child=lambda: current.set(NO_REQUEST))


def current_trace() -> TraceContext:
    """Return the ids of the current request, or `NO_TRACE`."""
    return current.get().trace


def annotate(**fields: object) -> None:
    """Add fields to the lines "Request finished" and "Request failed"; do nothing outside of a request.

    The other fields of these lines (`status`, `duration_ms`, ...) cannot be replaced. Raises `KeyError` for the names
    of log record attributes, as `logging` does for `extra`.
    """
    if reserved := RECORD_ATTRIBUTES & fields.keys():
        msg = f"Attempt to overwrite {sorted(reserved)} in a log record."
        raise KeyError(msg)
    context = current.get()
    if not context.closed:
        context.annotations.update(fields)


def record_exception(exc: BaseException, message: str = "Request failed") -> None:
    """Log an exception as the failure of the current request, for handlers that turn it into a 5xx response.

    `message` is the log message. An exception that no handler catches is logged without this call. An exception is
    logged only once per request. Outside of a request, it is logged as an ordinary error.
    """
    report = current.get().report
    if report is not None:
        report(exc, message)
    else:
        logger.error(message, exc_info=exc)


class timer:  # noqa: N801 - used like a function: `with timer("db"):`
    """Measure a block, even if it raises; "Request finished" gets `<name>_ms` and `<name>_calls`."""

    __slots__ = ("_name", "_started")

    def __init__(self, name: str) -> None:
        """Name the measurement."""
        self._name = name

    def __enter__(self) -> Self:
        """Start the timer."""
        self._started = perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the timer and add the time to the current request."""
        record_time(self._name, perf_counter() - self._started)


def record_time(name: str, seconds: float) -> None:
    """Add a time that was measured without `timer`, in the same way."""
    current.get().add_time(name, seconds)
