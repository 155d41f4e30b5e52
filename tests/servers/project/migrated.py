"""The shop with a database that is migrated at start-up."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alembic import command
from alembic.config import Config
from fastapi import FastAPI

from app.observability import configure_logging
from app.observability.fastapi import ObservedFastAPI
from tests.servers.project import service

logger = logging.getLogger("shop.migrated")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Migrate the database."""
    command.upgrade(Config("alembic.ini"), "head")
    yield
    logger.info("Closing the shop")


configure_logging("shop")
app = ObservedFastAPI(lifespan=lifespan)
app.include_router(service.app.router)
