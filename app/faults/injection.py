"""Fault injection: the first statement of a targeted request takes `delay_ms` longer, really, in the database.

A `slow-query` is slow; a `database-timeout` takes so long that DATABASE_TIMEOUT cancels it.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

from fastapi import Request
from sqlalchemy import AdaptedConnection, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from app.faults.models import FAULTS_ROUTE
from app.faults.registry import FaultRegistry
from app.observability import annotate, current_trace, route_template

_SLEEP_MS = 10

# A list, because the statement runs in a copy of the request's context: it removes the delay for the whole request.
_delay_ms: ContextVar[list[int] | None] = ContextVar("delay_ms", default=None)


def select_targets(faults: FaultRegistry) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that finds the fault for a request; the slowest one, if several match."""

    async def select(request: Request) -> None:
        _delay_ms.set(None)
        if not faults.active:
            return
        route = route_template(request.scope)
        if route == FAULTS_ROUTE:
            return
        trace = current_trace()
        request_id = trace.request_id or trace.trace_id
        user_id = await _user_id(request)
        matching = [fault for fault in faults.active if fault.matches(route, user_id, request_id)]
        if matching:
            slowest = max(matching, key=lambda fault: fault.delay_ms)
            annotate(fault_active=slowest.fault)
            _delay_ms.set([slowest.delay_ms])

    return select


def slow_down_statements(engine: AsyncEngine) -> None:
    """Delay the first statement of targeted requests, in its connection and within its time-out."""
    # An error in these events is handled like one of the statement; one in `before_cursor_execute` would not be.
    event.listen(engine.sync_engine, "do_execute", _sleep_once)
    event.listen(engine.sync_engine, "do_executemany", _sleep_once)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _add_sleep_function)


def _sleep_once(cursor: DBAPICursor, _statement: str, _parameters: object, context: ExecutionContext) -> None:
    if not (delays := _delay_ms.get()):
        return
    delay_ms = delays.pop()
    if context.dialect.name == "sqlite":
        rows = max(1, delay_ms // _SLEEP_MS)
        cursor.execute(
            f"WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {rows})"  # noqa: S608 - a number
            " SELECT sum(sleep_10_ms(n)) FROM counter"
        )
    else:
        cursor.execute(f"SELECT pg_sleep({delay_ms / 1000:.3f})")
    cursor.fetchall()


def _add_sleep_function(connection: AdaptedConnection, _: ConnectionPoolEntry) -> None:
    # SQLite has no pg_sleep. It sleeps once for each row, so that the statement can be interrupted between two rows.
    connection.run_async(lambda driver: driver.create_function("sleep_10_ms", 1, _sleep_10_ms))


def _sleep_10_ms(_: int) -> int:
    time.sleep(_SLEEP_MS / 1000)
    return 1


async def _user_id(request: Request) -> int | None:
    """Return the `user_id` of the path, the query or the JSON body."""
    values: Mapping[str, Any] = {**request.query_params, **request.path_params}
    if "user_id" not in values and "json" in request.headers.get("content-type", ""):
        try:
            body = await request.json()
        except ValueError:
            return None
        values = body if isinstance(body, dict) else {}
    try:
        return int(values["user_id"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
