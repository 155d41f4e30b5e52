"""The faults of statements: the first one of an unlucky request really takes long, in the database.

`slow-query` and `database-timeout` differ in how long: the latter is for the service's own time-out to cut.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

from fastapi import Request
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from app.faults.board import FaultBoard
from app.faults.models import LAB_ROUTE
from app.observability import annotate, current_trace, route_template

_TICK_MS = 10

# Emptied by the first statement. Set for every request: on a keep-alive connection, a request may begin in the
# context of the one before it.
_delay_ms: ContextVar[list[int] | None] = ContextVar("delay_ms", default=None)


def choose_unlucky(board: FaultBoard) -> Callable[[Request], Awaitable[None]]:
    """Make the dependency that decides for each request whether it suffers; it runs when the route is known."""

    async def choose(request: Request) -> None:
        _delay_ms.set(None)
        if not board.active:
            return
        route = route_template(request.scope)
        if route == LAB_ROUTE:
            return
        trace = current_trace()
        user_id = await _user_of(request)
        faults = [f for f in board.active if f.hits(route, user_id, trace.request_id or trace.trace_id)]
        if faults:
            worst = max(faults, key=lambda fault: fault.delay_ms)
            annotate(fault_active=worst.fault)
            _delay_ms.set([worst.delay_ms])

    return choose


def hook_into(engine: AsyncEngine) -> None:
    """Slow down the statements of the unlucky, in the same connection and within their time."""
    # What goes wrong in these two is handled as the statement's own error; in `before_cursor_execute` it is not.
    event.listen(engine.sync_engine, "do_execute", _before_statement)
    event.listen(engine.sync_engine, "do_executemany", _before_statement)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _teach_sqlite_to_wait)


def _before_statement(cursor: DBAPICursor, _statement: str, _parameters: object, context: ExecutionContext) -> None:
    if not (delays := _delay_ms.get()):
        return
    delay_ms = delays.pop()
    if context.dialect.name == "sqlite":
        ticks = max(1, delay_ms // _TICK_MS)
        cursor.execute(
            f"WITH RECURSIVE tick(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM tick WHERE n < {ticks})"  # noqa: S608 - a number
            " SELECT sum(wait_a_tick(n)) FROM tick"
        )
    else:
        cursor.execute(f"SELECT pg_sleep({delay_ms / 1000:.3f})")
    cursor.fetchall()


def _wait_a_tick(_: int) -> int:
    time.sleep(_TICK_MS / 1000)
    return 1


def _teach_sqlite_to_wait(connection: AsyncAdapt_aiosqlite_connection, _: object) -> None:
    # SQLite has no pg_sleep. One wait per row, so that the statement can be interrupted between two rows.
    connection.create_function("wait_a_tick", 1, _wait_a_tick)


async def _user_of(request: Request) -> int | None:
    """Return the user that the request is about, by its path, its query or its JSON body."""
    named: Mapping[str, Any] = {**request.query_params, **request.path_params}
    if "user_id" not in named and "json" in request.headers.get("content-type", ""):
        try:
            body = await request.json()
        except ValueError:
            return None
        named = body if isinstance(body, dict) else {}
    try:
        return int(named["user_id"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
