"""The database: engine, sessions, schema, and the timers on them."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from time import perf_counter

import asyncpg
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import (
    URL,
    AsyncAdaptedQueuePool,
    Connection,
    DateTime,
    Dialect,
    PoolProxiedConnection,
    QueuePool,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.observability import NO_REQUEST, current_request, record_time, timed
from app.problems import UnavailableError

logger = logging.getLogger(__name__)

# The pool's own lines name connections by their addresses, several times a request.
logging.getLogger(f"{__name__}.TimedPool").setLevel(logging.WARNING)

_SLOW = 0.5  # seconds; the same as the latency objective
_PATIENCE = 5  # seconds to wait for a connection, for a lock, or for the server
_SCHEMA_LOCK = 7_305_137  # any number, as long as every replica takes the same
#: What a column of integers holds.
LARGEST_INTEGER = 2**31 - 1
_UNAVAILABLE = (
    OSError, PoolTimeoutError, InterfaceError, OperationalError, asyncpg.PostgresError, asyncpg.InterfaceError
)  # fmt: skip


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone, which is UTC, also in SQLite, which forgets it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """What all tables have in common: the metadata that creates them."""


class TimedPool(AsyncAdaptedQueuePool):
    """A pool that tells a request how long it waited for a connection; SQLAlchemy has no event for that."""

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out."""
        with timed("pool_wait"):
            return super().connect()


class Database:
    """One engine and its sessions."""

    def __init__(self, url: URL, pool_size: int) -> None:
        """Prepare the engine; the first session connects."""
        self.engine = create_async_engine(
            url,
            poolclass=TimedPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_PATIENCE,
            hide_parameters=True,  # an error's text must not show what a user sent
            connect_args={"timeout": _PATIENCE},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._sqlite = url.get_backend_name() == "sqlite"
        if self._sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
        event.listen(self.engine.sync_engine, "before_cursor_execute", _statement_begins)
        event.listen(self.engine.sync_engine, "after_cursor_execute", _statement_ends)
        event.listen(self.engine.sync_engine, "handle_error", _statement_fails)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what goes wrong with the database, rather than with a statement, is an `UnavailableError`."""
        with _told_as_unavailable():
            async with self._sessions() as session:
                yield session

    async def ping(self) -> None:
        """Raise `UnavailableError` unless a statement can be run."""
        async with self.session() as session:
            await session.execute(text("SELECT 1"))

    async def prepare(self, seed: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Create the tables that are missing, then `seed` them; safe to repeat, and for several replicas at once."""
        with _told_as_unavailable():
            async with self._alone() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await seed(connection)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncConnection]:
        if not self._sqlite:
            async with self.engine.begin() as connection:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
                yield connection
            return
        # SQLite's driver begins transactions too late to keep others out, so begin and end this one by hand.
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield connection
            await connection.exec_driver_sql("COMMIT")


class PoolCollector(Collector):
    """The pool's connections as a metric."""

    def __init__(self, database: Database) -> None:
        """Look at the pool of `database` whenever metrics are read."""
        self._pool = database.engine.pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the one metric."""
        family = GaugeMetricFamily("db_pool_connections", "Connections of the pool, by state.", labels=["state"])
        if isinstance(self._pool, QueuePool):
            family.add_metric(["idle"], self._pool.checkedin())
            family.add_metric(["used"], self._pool.checkedout())
        yield family


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    message = "The database does not answer."
    try:
        yield
    except _UNAVAILABLE as exc:
        raise UnavailableError(message) from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise UnavailableError(message) from exc
        raise


def _configure_sqlite(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    # Readers do not wait for the writer, and a commit waits for the disk only at checkpoints.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _statement_begins(connection: Connection, *_: object) -> None:
    connection.info["started"] = perf_counter()


def _statement_ends(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    _tell(connection, statement)


def _statement_fails(error: ExceptionContext) -> None:
    # `after_cursor_execute` is not called for a statement that failed.
    if error.connection is not None and error.statement is not None:
        _tell(error.connection, error.statement)


def _tell(connection: Connection, statement: str) -> None:
    if current_request() is NO_REQUEST:
        return
    seconds = perf_counter() - connection.info["started"]
    record_time("db", seconds)
    level, message = (logging.WARNING, "Slow statement") if seconds > _SLOW else (logging.DEBUG, "Statement done")
    fields = {"statement": " ".join(statement.split()), "statement_ms": round(seconds * 1000, 3)}
    logger.log(level, message, extra=fields)
