"""The database: settings, the time-out of statements, and the creation of the tables."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, DatabaseTimeoutError
from app.errors import ServiceError, UnavailableError
from app.faults.injection import slow_down_statements
from app.main import create_app
from app.observability.testing import capture_logs
from app.orders.models import Order
from app.orders.repository import OrderRepository
from app.settings import Settings
from app.users.seed import seed_users
from tests.postgres import create_database

pytestmark = pytest.mark.anyio

only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

SLEEP_IN_SQLITE = """\
WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < :rows)
SELECT sum(sleep_10_ms(n)) FROM counter"""

LONG = 60  # seconds; no test takes that long
Connect = Callable[[float], Database]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Return a function that makes a `Database` with one connection and a time-out."""
    databases: list[Database] = []

    def connect_with(timeout: float) -> Database:
        databases.append(Database(Settings(database_url=database_url).async_database_url, 1, timeout))
        slow_down_statements(databases[-1].engine)  # this adds `sleep_10_ms` to SQLite
        return databases[-1]

    yield connect_with
    for database in databases:
        await database.engine.dispose()


async def sleep(session: AsyncSession, seconds: float) -> None:
    """Sleep in the database."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text(f"SELECT pg_sleep({seconds})"))
    else:
        await session.execute(text(SLEEP_IN_SQLITE), {"rows": seconds * 100})


@asynccontextmanager
async def locked_orders(database: Database) -> AsyncIterator[None]:
    """Hold a lock that other connections need to write orders."""
    async with database.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE orders IN EXCLUSIVE MODE")
        yield
        await connection.rollback()


async def test_sqlite_allows_reads_during_writes(tmp_path: Path) -> None:
    """SQLite is in WAL mode, and waits 5 s for its lock."""
    database = Database(Settings(database_url=f"sqlite:///{tmp_path}/tested.db").async_database_url, 1, LONG)
    async with database.session() as session:
        pragmas = [await session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "busy_timeout")]
    await database.engine.dispose()

    assert ["wal", 5000] == pragmas


async def test_error_messages_have_no_parameters(connect: Connect) -> None:
    """By default, SQLAlchemy adds the parameters of the statement to the message."""
    with pytest.raises((SQLAlchemyError, UnavailableError)) as caught:
        async with connect(LONG).session() as session:
            await session.execute(text("SELECT nothing FROM nowhere WHERE secret = :secret"), {"secret": "hunter2"})

    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("seconds", [0.3, 0.000001], ids=["300 ms", "less than 1 ms"])
async def test_a_statement_is_cancelled_after_the_timeout(connect: Connect, seconds: float) -> None:
    """A time-out that PostgreSQL would round to 0, which means no limit, is a time-out, too."""
    database = connect(seconds)
    with pytest.raises(DatabaseTimeoutError, match=r"^Database timeout while using the database$"):
        async with asyncio.timeout(LONG), database.session() as session:
            await sleep(session, 2 * LONG)


async def test_a_connection_can_be_used_after_a_timeout(connect: Connect) -> None:
    """The pool has one connection, so that all statements use the same one."""
    database = connect(1)
    for _ in range(2):
        with pytest.raises(DatabaseTimeoutError):
            async with asyncio.timeout(LONG), database.session() as session:
                await sleep(session, 2 * LONG)
        await ping(database, 1)


async def ping(database: Database, seconds: float) -> None:
    """Run a statement; it may reach its own time-out on a busy machine, but must not be cancelled earlier."""
    started = time.monotonic()
    try:
        await database.ping()
    except DatabaseTimeoutError:
        assert time.monotonic() - started >= seconds


@pytest.mark.parametrize("first", ["SELECT 1", "SELECT nothing FROM nowhere"], ids=["success", "error"])
async def test_the_timeout_begins_with_each_statement(connect: Connect, first: str) -> None:
    """The time of an earlier statement, successful or not, does not count for the next one."""
    database = connect(3)
    with suppress(SQLAlchemyError):
        async with database.engine.connect() as connection:
            await connection.execute(text(first))
    await asyncio.sleep(2.5)
    async with database.session() as session:
        await sleep(session, 0.7)


async def test_a_timeout_does_not_interrupt_the_next_statement(connect: Connect) -> None:
    """Not even if the first statement ends at the moment of its time-out."""
    database = connect(0.05)
    for number in range(40):
        with suppress(DatabaseTimeoutError):
            async with database.session() as session:
                await sleep(session, 0.02 + 0.01 * (number % 5))
        await ping(database, 0.05)


async def test_the_timeout_includes_waiting_for_a_lock(connect: Connect) -> None:
    """The order is not stored, and the message names the operation."""
    database, other = connect(0.3), connect(LONG)
    await other.prepare(seed_users)

    async def store() -> None:
        order = Order(user_id=1, sku="mug", quantity=1, amount_cents=1, status="pending")
        async with database.session() as session:
            await OrderRepository(session).save(order)

    async with locked_orders(other):
        storing = asyncio.create_task(store())
        # SQLite handles the interrupt only when it gets the lock, so there this waits for the whole time.
        await asyncio.wait([storing], timeout=3)
    with pytest.raises(DatabaseTimeoutError, match=r"^Database timeout while storing order$"):
        await storing


async def test_preparing_tables_has_no_timeout(connect: Connect) -> None:
    """A replica waits for the one that creates the tables."""
    database, other = connect(0.3), connect(LONG)
    preparing, prepared = asyncio.Event(), asyncio.Event()

    async def seed_slowly(_: object) -> None:
        preparing.set()
        await asyncio.sleep(1)
        prepared.set()

    async def seed_nothing(_: object) -> None:
        pass

    first = asyncio.create_task(other.prepare(seed_slowly))
    await preparing.wait()
    await database.prepare(seed_nothing)
    assert prepared.is_set()
    await first


async def test_replicas_can_prepare_the_tables_at_the_same_time(database_url: str) -> None:
    """The users are stored once. Without a lock, all replicas but one would fail."""
    sqlite = database_url.startswith("sqlite")
    fresh = database_url.replace("tested.db", "new.db") if sqlite else create_database(database_url, "new")
    # With more replicas, a busy machine would reach the 5 s for which a connection waits for SQLite's lock.
    databases = [Database(Settings(database_url=fresh).async_database_url, 1, LONG) for _ in range(3)]
    await asyncio.gather(*(database.prepare(seed_users) for database in databases))
    async with databases[0].session() as session:
        users = await session.scalar(text("SELECT count(*) FROM users"))
    for database in databases:
        await database.engine.dispose()

    assert 200 == users


async def test_a_cancelled_statement_frees_its_connection(connect: Connect) -> None:
    """The statement of a cancelled request does not occupy the connection until its time-out."""
    database = connect(2 * LONG)

    async def sleep_long() -> None:
        async with database.session() as session:
            await sleep(session, 2 * LONG)

    sleeping = asyncio.create_task(sleep_long())
    await asyncio.sleep(1)
    sleeping.cancel()
    await asyncio.wait([sleeping], timeout=LONG)
    assert sleeping.cancelled()
    await asyncio.wait_for(database.ping(), LONG)


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("53100", "The disk of the database is full."),
        ("25006", "The database is read-only."),
        ("58030", "The disk of the database has an error."),
        ("53200", "The database does not answer."),
        ("28P01", "The database refuses the password in DATABASE_URL."),
    ],
)
@only_postgresql
async def test_errors_of_the_server_name_the_reason(connect: Connect, sqlstate: str, message: str) -> None:
    """PostgreSQL reports them with the statement, which is not to blame."""
    with pytest.raises(UnavailableError, match=f"^{message}$"):
        async with connect(LONG).session() as session:
            await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'hunter2' USING ERRCODE = '{sqlstate}'; END $$"))


@pytest.mark.parametrize(
    ("limit", "no_limit", "message"),
    [
        ("query_only = ON", "query_only = OFF", "The database is read-only."),
        ("max_page_count = 1", "max_page_count = 1000000", "The disk of the database is full."),
    ],
    ids=["read-only", "full"],
)
async def test_a_database_that_cannot_write_is_not_ready_until_it_can(
    tmp_path: Path, limit: str, no_limit: str, message: str
) -> None:
    """It still answers, so a statement that only reads would not find out."""
    database = Database(Settings(database_url=f"sqlite:///{tmp_path}/tested.db").async_database_url, 1, LONG)
    await database.prepare(seed_users)

    async def run(*statements: str) -> None:
        async with database.session() as session:
            for statement in statements:
                await session.execute(text(statement))
            await session.commit()

    await run(f"PRAGMA {limit}")
    await database.ping()
    for attempt in (run("CREATE TABLE copies AS SELECT * FROM users, users AS others"), database.ping()):
        with pytest.raises(UnavailableError, match=f"^{message}$"):
            await attempt
    await run("SELECT count(*) FROM users", f"PRAGMA {no_limit}")
    await database.ping()
    await database.engine.dispose()


async def use_all_connections(url: str, connections: AsyncExitStack) -> None:
    """Open connections to PostgreSQL until it refuses them."""
    database = Database(Settings(database_url=url).async_database_url, 1000, LONG)
    connections.push_async_callback(database.engine.dispose)
    with suppress(DBAPIError):
        while True:
            await connections.enter_async_context(database.engine.connect())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("postgres", "The database refuses connections: it has too many of them."),
        ("missing", "The database in DATABASE_URL does not exist."),
    ],
)
@only_postgresql
async def test_a_database_that_refuses_connections_is_a_503(database_url: str, name: str, reason: str) -> None:
    """Response, readiness and line have the reason, as for a database that is down."""
    app = create_app(Settings(database_url=database_url.replace("/postgres?", f"/{name}?")))
    async with AsyncExitStack() as connections:
        if name == "postgres":
            await use_all_connections(database_url, connections)
        logs = connections.enter_context(capture_logs(safe_exceptions=(ServiceError,)))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            listed, ready = await client.get("/users"), await client.get("/readyz")

    assert (503, reason) == (listed.status_code, listed.json()["detail"])
    assert (503, reason) == (ready.status_code, ready.json()["checks"]["database"])
    (failed,) = logs.lines(event="request.failed", route="/users")
    assert reason == failed["error_message"]
