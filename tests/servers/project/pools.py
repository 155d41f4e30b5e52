"""The shop with a process pool, which forks while a request is served."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context

from fastapi import FastAPI

from app.observability import configure_logging, continue_trace, inject
from app.observability.fastapi import ObservedFastAPI

logger = logging.getLogger("shop")

pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Stop the worker of the pool with the service."""
    with pool:
        yield


configure_logging("shop")
app = ObservedFastAPI(lifespan=lifespan)


def pack(thing_id: int, headers: dict[str, str]) -> int:
    """Log once without a trace, and once with that of the request."""
    logger.info("Packing", extra={"thing_id": thing_id})
    with continue_trace(headers):
        logger.info("Packed", extra={"thing_id": thing_id})
    return os.getpid()


@app.get("/things/{thing_id}")
async def get_thing(thing_id: int) -> int:
    """Pack a thing in another process, and return the id of that process."""
    return await asyncio.get_running_loop().run_in_executor(pool, pack, thing_id, inject())


@app.get("/metrics")
async def metrics() -> str:
    """Return no metrics."""
    return ""
