"""A shop, as a FastAPI application that is observed."""

import logging
import os
from functools import partial

import uvicorn
from fastapi import FastAPI, Request, Response

from app.observability import ObservabilityMiddleware, annotate, configure_logging, metrics_page
from app.observability.fastapi import ObservedFastAPI

logger = logging.getLogger("shop")

configure_logging("shop")
app: FastAPI = ObservedFastAPI(observability=partial(ObservabilityMiddleware, exclude={"/metrics"}))


@app.get("/things/{thing_id}")
async def get_thing(thing_id: int) -> dict[str, int]:
    """Return a thing."""
    annotate(thing_id=thing_id)
    logger.info("Thing fetched", extra={"pid": os.getpid()})
    return {"id": thing_id}


@app.get("/failure")
async def fail() -> None:
    """Fail."""
    msg = "out of stock"
    raise ValueError(msg)


@app.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    page, content_type = metrics_page(request.headers.get("accept", ""))
    return Response(page, headers={"content-type": content_type})


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]))
