"""How long every statement took: a line, and a part of its request's time."""

import logging
from time import perf_counter

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from app.observability import NO_TRACE, current_trace, record_time

logger = logging.getLogger(__name__)

_SLOW = 0.5  # seconds; the same as the latency objective


def time_statements(engine: AsyncEngine) -> None:
    """Time the statements of `engine` that requests run, also those that fail."""
    event.listen(engine.sync_engine, "before_cursor_execute", _begins)
    event.listen(engine.sync_engine, "after_cursor_execute", _ends)
    event.listen(engine.sync_engine, "handle_error", _fails)


def _begins(connection: Connection, *_: object) -> None:
    connection.info["started"] = perf_counter()


def _ends(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    _tell(connection, statement)


def _fails(error: ExceptionContext) -> None:
    # `after_cursor_execute` is not called for a statement that failed.
    if error.connection is not None and error.statement is not None:
        _tell(error.connection, error.statement)


def _tell(connection: Connection, statement: str) -> None:
    if current_trace() is NO_TRACE:
        return
    seconds = perf_counter() - connection.info["started"]
    record_time("db", seconds)
    level, message = (logging.WARNING, "Slow statement") if seconds > _SLOW else (logging.DEBUG, "Statement done")
    fields = {"statement": " ".join(statement.split()), "statement_ms": round(seconds * 1000, 3)}
    logger.log(level, message, extra=fields)
