"""Engine, sessions and schema."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import URL, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine

from app.database.deadline import Watchdog, server_settings
from app.database.errors import told_as_unavailable
from app.database.pool import TimedPool
from app.database.tables import Base
from app.database.timers import time_statements

_PATIENCE = 5  # seconds to wait for a connection, for SQLite's lock, or for the server
_SCHEMA_LOCK = 7_305_137  # any number, as long as every replica takes the same


class Database:
    """One engine and its sessions."""

    def __init__(self, url: URL, pool_size: int, timeout: float) -> None:
        """Prepare the engine, whose statements may take `timeout` seconds each; the first session connects."""
        self._sqlite = url.get_backend_name() == "sqlite"
        told = {} if self._sqlite else {"server_settings": server_settings(timeout)}
        self.engine = create_async_engine(
            url,
            poolclass=TimedPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_PATIENCE,
            hide_parameters=True,  # an error's text must not show what a user sent
            connect_args={"timeout": _PATIENCE, **told},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        if self._sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            Watchdog(self.engine, timeout)
        time_statements(self.engine)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what goes wrong with the database, rather than with a statement, is an `UnavailableError`."""
        with told_as_unavailable():
            async with self._sessions() as session:
                yield session

    async def ping(self) -> None:
        """Raise `UnavailableError` unless a statement can be run."""
        async with self.session() as session:
            await session.execute(text("SELECT 1"))

    async def prepare(self, seed: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Create the tables that are missing, then `seed` them; safe to repeat, and for several replicas at once."""
        with told_as_unavailable():
            async with self._alone() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await seed(connection)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncConnection]:
        if not self._sqlite:
            async with self.engine.begin() as connection:
                # The replica before this one takes as long as it takes.
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
                yield connection
            return
        # SQLite's driver begins transactions too late to keep others out, so begin and end this one by hand.
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield connection
            await connection.exec_driver_sql("COMMIT")


def _configure_sqlite(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    # Readers do not wait for the writer, and a commit waits for the disk only at checkpoints.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
