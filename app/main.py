"""Composition root of the main service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from app.api import create_api
from app.connections import connections_closed
from app.cross_site import CrossSiteMiddleware
from app.database import Database
from app.errors import UnavailableError
from app.faults.injection import select_targets, slow_down_statements
from app.faults.registry import FaultRegistry
from app.faults.router import faults_router
from app.health import PROBES, health_router
from app.limits import LimitsMiddleware
from app.observability import ObservabilityMiddleware
from app.orders.payments import PaymentsClient
from app.orders.router import router as orders_router
from app.settings import Settings
from app.users.router import router as users_router
from app.users.seed import seed_users

logger = logging.getLogger(__name__)

_START_TIMEOUT = 5.0  # seconds to wait for the database before the first request is accepted

DESCRIPTION = """\
Users and orders. Every response has the header `X-Trace-ID`, and every log line of the request has the same id."""


def create_app(settings: Settings) -> ObservabilityMiddleware:
    """Create the main service."""
    metrics = CollectorRegistry()
    database = Database(settings.async_database_url, settings.database_pool_size, settings.database_timeout)
    payments = PaymentsClient(str(settings.payments_url), settings.payments_timeout)
    faults = FaultRegistry(database)
    prepared = asyncio.Event()
    inject_faults = settings.faults == "on"
    database.register_metrics(metrics)
    faults.register_metrics(metrics)
    metrics.register(connections_closed)
    if inject_faults:
        slow_down_statements(database.engine)

    async def check_tables() -> None:
        if not prepared.is_set():
            message = "The tables have not been created yet."
            raise UnavailableError(message)

    api = create_api(
        settings,
        title="Users and orders",
        description=DESCRIPTION,
        lifespan=_lifespan(database, payments, faults if inject_faults else None, prepared),
        dependencies=[Depends(select_targets(faults))] if inject_faults else None,
    )
    api.state.database = database
    api.state.payments = payments
    api.include_router(users_router)
    api.include_router(orders_router)
    checks = {"database": database.ping, "tables": check_tables, "payments": payments.ping}
    api.include_router(health_router(metrics, checks))
    if inject_faults:
        api.include_router(faults_router(faults))

    return ObservabilityMiddleware(
        CrossSiteMiddleware(LimitsMiddleware(api, settings), settings.allowed_host_names),
        registry=metrics,
        exclude=PROBES,
        payload_values={"user_id", "sku", "quantity"},
        server_timing=settings.server_timing == "on",
    )


def _lifespan(
    database: Database, payments: PaymentsClient, faults: FaultRegistry | None, prepared: asyncio.Event
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = asyncio.create_task(_prepare_and_watch(database, prepared, faults))
        # Without a database the service starts anyway, and is not ready.
        with suppress(TimeoutError):
            await asyncio.wait_for(prepared.wait(), _START_TIMEOUT)
        yield
        background.cancel()
        await asyncio.wait([background])
        await payments.close()
        await database.engine.dispose()

    return lifespan


async def _prepare_and_watch(database: Database, prepared: asyncio.Event, faults: FaultRegistry | None) -> None:
    """Create and seed the tables as soon as the database answers, then keep the faults up to date."""
    while not prepared.is_set():
        try:
            await database.prepare(seed_users)
        except UnavailableError as exc:
            logger.warning("Tables cannot be created yet: %s", exc)
            await asyncio.sleep(1)
        except Exception:
            logger.exception("Tables cannot be created")
            await asyncio.sleep(_START_TIMEOUT)
        else:
            prepared.set()
    if faults is not None:
        await faults.watch()
