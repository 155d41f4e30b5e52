"""How long a statement may take: PostgreSQL watches that itself; SQLite's statements are watched here."""

import asyncio
import sqlite3
from contextlib import suppress
from typing import cast

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine


def server_settings(seconds: float) -> dict[str, str]:
    """Return what a PostgreSQL session has to be told so that it cuts a statement after `seconds`."""
    return {"statement_timeout": str(max(1, round(seconds * 1000)))}  # 0 would be for ever


class Watchdog:
    """Interrupts a statement of SQLite that takes too long; SQLite has no setting for that.

    Timer and end of a statement happen in the same event loop, and SQLite forgets an interrupt that finds nothing to
    interrupt. So it never hits the connection's next statement, which may be another request's.
    """

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        """Watch the statements of `engine`."""
        self._seconds = seconds
        event.listen(engine.sync_engine, "before_cursor_execute", self._begins)
        event.listen(engine.sync_engine, "after_cursor_execute", self._ends)
        event.listen(engine.sync_engine, "handle_error", self._fails)

    def _begins(self, connection: Connection, *_: object) -> None:
        loop = asyncio.get_running_loop()
        connection.info["deadline"] = loop.call_later(self._seconds, _interrupt, _driver(connection))

    def _ends(self, connection: Connection, *_: object) -> None:
        connection.info.pop("deadline").cancel()

    def _fails(self, error: ExceptionContext) -> None:
        if error.connection is None or "deadline" not in error.connection.info:
            return
        error.connection.info.pop("deadline").cancel()
        if not isinstance(error.original_exception, sqlite3.Error):
            # Nobody waits for it any more, as after a cancellation: it would run on in the driver's thread.
            _interrupt(_driver(error.connection))


def _driver(connection: Connection) -> aiosqlite.Connection:
    return cast("aiosqlite.Connection", connection.connection.driver_connection)


def _interrupt(driver: aiosqlite.Connection) -> None:
    # A coroutine that waits for nothing. As a task it would run a little later, when the statement may be another.
    with suppress(StopIteration):
        driver.interrupt().send(None)
