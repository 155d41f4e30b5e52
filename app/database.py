"""The database: engine, sessions and schema; the time, the time-out and the errors of statements."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, cast

import aiosqlite
import asyncpg
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import (
    URL,
    AdaptedConnection,
    AsyncAdaptedQueuePool,
    Connection,
    DateTime,
    Dialect,
    PoolProxiedConnection,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from app.errors import UnavailableError
from app.observability import NO_TRACE, current_trace, record_time, timer

logger = logging.getLogger(__name__)
# SQLAlchemy logs every checkout with the address of the connection, on a logger with the name of the pool's class.
logging.getLogger(f"{__name__}.TimedPool").setLevel(logging.WARNING)

#: The largest value of an INTEGER column.
MAX_INTEGER = 2**31 - 1

_CONNECT_TIMEOUT = 5  # seconds to wait for a free connection, for the server, or for SQLite's lock
_SLOW_STATEMENT = 0.5  # seconds; the same as the latency objective
_INTERRUPT_INTERVAL = 0.05  # seconds
_SCHEMA_LOCK = 7_305_137  # any number, as long as all replicas use the same one
_UNAVAILABLE_ERRORS = (
    OSError, PoolTimeoutError, InterfaceError, OperationalError, asyncpg.PostgresError, asyncpg.InterfaceError
)  # fmt: skip


_NO_ANSWER = "The database does not answer."
# Classes of SQLSTATE: the server is the problem, not the statement.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SERVER_ERRORS = frozenset({"08", "28", "3D", "53", "57", "58"})
_REFUSED = {
    "28000": "The database refuses the user in DATABASE_URL.",
    "28P01": "The database refuses the password in DATABASE_URL.",
    "3D000": "The database in DATABASE_URL does not exist.",
    "53300": "The database refuses connections: it has too many of them.",
}
# By SQLSTATE or by SQLite's result code.
_WRITE_ERRORS: dict[str | int | None, str] = {
    "53100": "The disk of the database is full.",
    sqlite3.SQLITE_FULL: "The disk of the database is full.",
    "25006": "The database is read-only.",
    sqlite3.SQLITE_READONLY: "The database is read-only.",
    "58030": "The disk of the database has an error.",
    sqlite3.SQLITE_IOERR: "The disk of the database has an error.",
}


class Base(DeclarativeBase):
    """The base class of all tables."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite does not store time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time with its time zone."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class DatabaseTimeoutError(UnavailableError):
    """A statement took longer than `DATABASE_TIMEOUT` and was cancelled."""


class WriteError(UnavailableError):
    """The database answers, but cannot write."""


@contextmanager
def operation(name: str) -> Iterator[None]:
    """Name what the statements of a block do, such as "fetching user", for the message of `DatabaseTimeoutError`."""
    try:
        yield
    except DBAPIError as exc:
        if _timed_out(exc):
            msg = f"Database timeout while {name}"
            raise DatabaseTimeoutError(msg) from exc
        raise


class Database:
    """One engine and its sessions."""

    def __init__(self, url: URL, pool_size: int, timeout: float) -> None:
        """Create the engine; it connects when the first session needs it. `timeout` is in seconds, per statement."""
        self._can_write = True
        self._is_sqlite = url.get_backend_name() == "sqlite"
        connect_args: dict[str, Any] = {"timeout": _CONNECT_TIMEOUT}
        if not self._is_sqlite:
            # In milliseconds; 0 would be no limit at all.
            connect_args["server_settings"] = {"statement_timeout": str(max(1, round(timeout * 1000)))}
        self.engine = create_async_engine(
            url,
            poolclass=TimedPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_CONNECT_TIMEOUT,
            hide_parameters=True,  # error messages must not contain what a user sent
            connect_args=connect_args,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        if self._is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            _limit_sqlite_statements(self.engine, timeout)
        _time_statements(self.engine)

    def register_metrics(self, registry: CollectorRegistry) -> None:
        """Add `db_pool_connections` to the metrics of `registry`."""
        pool = cast("TimedPool", self.engine.pool)
        connections = Gauge("db_pool_connections", "Connections in the pool by state.", ["state"], registry=registry)
        connections.labels("idle").set_function(pool.checkedin)
        connections.labels("used").set_function(pool.checkedout)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session. Raises `UnavailableError` if the database is the problem, not the statement."""
        try:
            with _unavailable_errors():
                async with self._sessions() as session:
                    yield session
        except WriteError:
            self._can_write = False
            raise

    async def ping(self) -> None:
        """Raise `UnavailableError` unless the database runs a statement, and can write if it could not before."""
        with _unavailable_errors():
            if self._can_write:
                async with self._sessions() as session:
                    await session.execute(text("SELECT 1"))
            else:
                async with self._exclusive_transaction() as connection:
                    await connection.exec_driver_sql("CREATE TABLE write_test (id INTEGER)")
                    await connection.exec_driver_sql("INSERT INTO write_test VALUES (1)")
                    await connection.exec_driver_sql("DROP TABLE write_test")
                self._can_write = True

    async def prepare(self, seed: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Create the missing tables, then call `seed`. Safe to repeat, and for several replicas at once."""
        with _unavailable_errors():
            async with self._exclusive_transaction() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await seed(connection)

    @asynccontextmanager
    async def _exclusive_transaction(self) -> AsyncIterator[AsyncConnection]:
        if not self._is_sqlite:
            async with self.engine.begin() as connection:
                # Another replica may hold the lock for longer than the time-out.
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
                yield connection
            return
        # The sqlite3 module begins a transaction only at the first write, so this one begins and ends explicitly.
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield connection
            await connection.exec_driver_sql("COMMIT")


class TimedPool(AsyncAdaptedQueuePool):
    """A pool that records how long a request waits for a connection. SQLAlchemy has no event for that."""

    def connect(self) -> PoolProxiedConnection:
        """Check out a connection."""
        with timer("pool_wait"):
            return super().connect()


@contextmanager
def _unavailable_errors() -> Iterator[None]:
    try:
        with operation("using the database"):
            yield
    except (*_UNAVAILABLE_ERRORS, DBAPIError) as exc:
        code = _code(exc)
        if code in _WRITE_ERRORS:
            raise WriteError(_WRITE_ERRORS[code]) from exc
        if (
            isinstance(exc, _UNAVAILABLE_ERRORS)
            or (isinstance(exc, DBAPIError) and exc.connection_invalidated)
            or str(code)[:2] in _SERVER_ERRORS
        ):
            raise UnavailableError(_REFUSED.get(str(code), _NO_ANSWER)) from exc
        raise


def _code(exc: Exception) -> str | int | None:
    """Return the SQLSTATE of PostgreSQL, or the primary result code of SQLite."""
    error = getattr(exc, "orig", exc)
    result_code: int | None = getattr(error, "sqlite_errorcode", None)
    sqlstate: str | None = getattr(error, "sqlstate", None)
    return sqlstate if result_code is None else result_code & 0xFF


def _timed_out(exc: DBAPIError) -> bool:
    return _code(exc) in {asyncpg.QueryCanceledError.sqlstate, sqlite3.SQLITE_INTERRUPT}


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Readers do not wait for the writer, and a commit waits for the disk only at checkpoints.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _limit_sqlite_statements(engine: AsyncEngine, seconds: float) -> None:
    """Interrupt statements that take too long; SQLite has no setting for that.

    The timer and the end of a statement run in the same event loop, and SQLite ignores an interrupt while no statement
    is running. So it cannot interrupt the next statement of the connection, which may belong to another request.
    """

    def connected(connection: AdaptedConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["sqlite3"] = connection.run_async(_sqlite3_connection)

    def started(connection: Connection, *_: object) -> None:
        schedule(connection.info, seconds)

    def schedule(info: dict[Any, Any], delay: float) -> None:
        info["timeout"] = asyncio.get_running_loop().call_later(delay, interrupt, info)

    def interrupt(info: dict[Any, Any]) -> None:
        info["sqlite3"].interrupt()
        # The statement may still be waiting for the driver's thread; then SQLite has ignored the interrupt.
        schedule(info, _INTERRUPT_INTERVAL)

    def ended(connection: Connection, *_: object) -> None:
        connection.info.pop("timeout").cancel()

    def failed(error: ExceptionContext) -> None:
        if error.connection is None or "timeout" not in error.connection.info:
            return
        ended(error.connection)
        if not isinstance(error.original_exception, sqlite3.Error):
            # A cancelled task. Its statement would otherwise go on in the driver's thread.
            error.connection.info["sqlite3"].interrupt()

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "before_cursor_execute", started)
    event.listen(engine.sync_engine, "after_cursor_execute", ended)
    event.listen(engine.sync_engine, "handle_error", failed)


async def _sqlite3_connection(driver: aiosqlite.Connection) -> sqlite3.Connection:
    async with driver.cursor() as cursor:
        return cursor.connection


def _time_statements(engine: AsyncEngine) -> None:
    """Log the statements of requests, and add their time to `db_ms`."""

    def started(connection: Connection, *_: object) -> None:
        connection.info["started"] = perf_counter()

    def ended(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if current_trace() is NO_TRACE:
            return
        seconds = perf_counter() - connection.info["started"]
        record_time("db", seconds)
        slow = seconds > _SLOW_STATEMENT
        fields = {"statement": " ".join(statement.split()), "statement_ms": round(seconds * 1000, 3)}
        level, message = (logging.WARNING, "Slow statement") if slow else (logging.DEBUG, "Statement done")
        logger.log(level, message, extra=fields)

    def failed(error: ExceptionContext) -> None:
        # `after_cursor_execute` is not called for a statement that fails.
        if error.connection is not None and error.statement is not None:
            ended(error.connection, None, error.statement)

    event.listen(engine.sync_engine, "before_cursor_execute", started)
    event.listen(engine.sync_engine, "after_cursor_execute", ended)
    event.listen(engine.sync_engine, "handle_error", failed)
