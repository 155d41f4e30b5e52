"""The beginning and the end of a service, as its lines tell them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

logger = logging.getLogger(__name__)


@asynccontextmanager
async def told(_: FastAPI) -> AsyncIterator[None]:
    """Say that requests are let in, and that the last one is done."""
    logger.info("Service started", extra={"event": "service.started"})
    yield
    logger.info("Service stopped", extra={"event": "service.stopped"})
