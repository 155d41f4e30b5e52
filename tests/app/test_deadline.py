"""How long a statement may take: it is cut in time, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, DatabaseTimeoutError
from app.database.deadline import server_settings
from app.faults.statements import hook_into
from app.orders.models import Order
from app.orders.repository import OrderRepository
from app.settings import Settings
from app.users.seed import seed_users

pytestmark = pytest.mark.anyio

TICKS = """\
WITH RECURSIVE tick(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM tick WHERE n < :ticks)
SELECT sum(wait_a_tick(n)) FROM tick"""

Opener = Callable[[float], Database]


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Opener]:
    """Open databases of one connection each, which are closed after the test."""
    databases: list[Database] = []

    def open_with(timeout: float) -> Database:
        databases.append(Database(Settings(database_url=database_url).async_database_url, 1, timeout))
        hook_into(databases[-1].engine)  # so that SQLite knows how to wait
        return databases[-1]

    yield open_with
    for database in databases:
        await database.engine.dispose()


async def wait(session: AsyncSession, seconds: float) -> None:
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text(f"SELECT pg_sleep({seconds})"))
        return
    await session.execute(text(TICKS), {"ticks": seconds * 100})


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Keep everybody else from writing orders."""
    async with database.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE orders IN EXCLUSIVE MODE")
        yield
        await connection.rollback()


async def test_a_statement_is_cut_and_its_connection_goes_on(opened: Opener) -> None:
    """Of a pool of one, so that the next statement has the same connection."""
    database = opened(0.3)
    for _ in range(3):
        with pytest.raises(DatabaseTimeoutError, match=r"^Database timeout while using the database$"):
            async with asyncio.timeout(5), database.session() as session:
                await wait(session, 60)
        await database.ping()


@pytest.mark.parametrize("first", ["SELECT 1", "SELECT nothing FROM nowhere"])
async def test_a_deadline_is_of_one_statement(opened: Opener, first: str) -> None:
    """The time of a statement that ended, well or not, is not counted for the next."""
    database = opened(1.5)
    with suppress(SQLAlchemyError):
        async with database.engine.connect() as connection:
            await connection.execute(text(first))
    await asyncio.sleep(1)
    async with database.session() as session:
        await wait(session, 1)


async def test_a_very_short_deadline_is_one() -> None:
    """To PostgreSQL, 0 ms would be for ever."""
    assert {"statement_timeout": "1"} == server_settings(0.0001)
    assert {"statement_timeout": "1500"} == server_settings(1.5)


async def test_what_waits_for_somebody_elses_lock_is_cut(opened: Opener) -> None:
    """The order was not stored, and the error says that this was being done."""
    database, other = opened(0.3), opened(3)
    await database.prepare(seed_users)

    async def store() -> None:
        order = Order(user_id=1, sku="mug", quantity=1, amount_cents=1, status="pending")
        async with database.session() as session:
            await OrderRepository(session).save(order)

    async with locked(other):
        storing = asyncio.create_task(store())
        await asyncio.wait([storing], timeout=1)
    # SQLite does not look up while it waits for its lock, only when it has it.
    with pytest.raises(DatabaseTimeoutError, match=r"^Database timeout while storing order$"):
        await storing


async def test_tables_are_prepared_without_a_deadline(opened: Opener) -> None:
    """A replica waits for the one before it."""
    database, other = opened(0.3), opened(3)

    async def slow(_: object) -> None:
        await asyncio.sleep(1)

    async def quick(_: object) -> None:
        pass

    first = asyncio.create_task(other.prepare(slow))
    await asyncio.sleep(0.2)
    await database.prepare(quick)
    assert first.done()
    await first


async def test_a_statement_that_nobody_waits_for_ends(opened: Opener) -> None:
    """A cancelled request does not keep its connection busy."""
    database = opened(9)

    async def ask() -> None:
        async with database.session() as session:
            await wait(session, 60)

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0.5)
    asked.cancel()
    await asyncio.wait([asked], timeout=3)
    assert asked.cancelled()
    await asyncio.wait_for(database.ping(), 3)
