"""Composition root: settings -> database -> `api` (FastAPI) -> limited -> observed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from app.database import Database, PoolCollector
from app.faults.board import FaultBoard
from app.faults.router import faults_router
from app.faults.statements import choose_unlucky, hook_into
from app.health import PROBES, Check, health_router
from app.limits import Limited
from app.observability import ObservabilityMiddleware
from app.orders.payments import PaymentsClient
from app.orders.router import router as orders_router
from app.problems import RESPONSES, UnavailableError, add_problem_handlers
from app.settings import Settings
from app.users.router import router as users_router
from app.users.seed import seed_users

logger = logging.getLogger(__name__)

_START = 5.0  # seconds to wait for the database before requests are let in

DESCRIPTION = """\
Users and orders. Every response carries `X-Trace-ID`; every log line of the request has the same id."""


def create_app(settings: Settings) -> ObservabilityMiddleware:
    """Compose the service."""
    registry = CollectorRegistry()
    database = Database(settings.async_database_url, settings.database_pool_size, settings.database_timeout)
    payments = PaymentsClient(str(settings.payments_url), settings.payments_timeout)
    board = FaultBoard(database)
    prepared = asyncio.Event()
    faulty = settings.faults == "on"
    registry.register(PoolCollector(database.engine))
    registry.register(board)
    if faulty:
        hook_into(database.engine)

    api = FastAPI(
        title="Users and orders",
        description=DESCRIPTION,
        lifespan=_lifespan(database, payments, board if faulty else None, prepared),
        dependencies=[Depends(choose_unlucky(board))] if faulty else None,
        responses=RESPONSES,
        max_body_size=settings.max_body_bytes,
    )
    api.state.database = database
    api.state.payments = payments
    api.include_router(users_router)
    api.include_router(orders_router)
    checks = {"database": database.ping, "tables": _there_when(prepared), "payments": payments.ping}
    api.include_router(health_router(registry, checks))
    if faulty:
        api.include_router(faults_router(board))
    add_problem_handlers(api)

    return ObservabilityMiddleware(
        Limited(api, settings.max_header_bytes),
        registry=registry,
        exclude=PROBES,
        payload_values={"user_id", "sku", "quantity"},
        server_timing=settings.server_timing == "on",
    )


def _lifespan(
    database: Database, payments: PaymentsClient, board: FaultBoard | None, prepared: asyncio.Event
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        chore = asyncio.create_task(_prepare_and_watch(database, prepared, board))
        # A database that is there is prepared before the first request; one that is not keeps /readyz at 503.
        with suppress(TimeoutError):
            await asyncio.wait_for(prepared.wait(), _START)
        yield
        chore.cancel()
        await asyncio.wait([chore])
        await payments.close()
        await database.engine.dispose()

    return lifespan


async def _prepare_and_watch(database: Database, prepared: asyncio.Event, board: FaultBoard | None) -> None:
    """Create and seed the tables as soon as the database answers; then watch the faults."""
    while not prepared.is_set():
        try:
            await database.prepare(seed_users)
        except UnavailableError:
            logger.warning("Tables cannot be prepared yet: the database does not answer")
            await asyncio.sleep(1)
        except Exception:
            logger.exception("Tables cannot be prepared")
            await asyncio.sleep(_START)
        else:
            prepared.set()
    if board is not None:
        await board.watch()


def _there_when(prepared: asyncio.Event) -> Check:
    async def check() -> None:
        if not prepared.is_set():
            message = "The tables are not there yet."
            raise UnavailableError(message)

    return check
