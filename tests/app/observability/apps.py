"""Small applications to observe."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from app.observability import annotate, record_exception, timer
from app.observability.middleware import Receive, Scope, Send

logger = logging.getLogger("tested")


class OwnError(Exception):
    """An exception of the application, whose message may be logged."""


router = APIRouter()
things = APIRouter(prefix="/things")


def api() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    app.include_router(things, prefix="/api")
    return app


@things.get("/{thing_id}")
async def _get_thing(thing_id: int) -> dict[str, int]:
    annotate(user_id=thing_id, status="cannot be replaced")
    with timer("db"):
        logger.info("Thing %d found", thing_id)
    with timer("db"):
        await asyncio.sleep(0)
    return {"id": thing_id}


@things.post("")
async def _create_thing(request: Request) -> None:
    await request.json()
    msg = "secret hunter2"
    raise ValueError(msg)


@router.get("/own-error")
async def _own_error() -> None:
    msg = "out of stock"
    raise OwnError(msg)


@router.get("/recorded")
async def _recorded() -> Response:
    record_exception(OwnError("payments is down"))
    return PlainTextResponse("unavailable", 503)


@router.get("/http-exception")
async def _http_exception() -> None:
    raise HTTPException(410)


@router.get("/background")
async def _background(tasks: BackgroundTasks) -> str:
    tasks.add_task(logger.info, "Background task")
    return "accepted"


@router.get("/stream")
async def _stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.1)
        yield b"last"

    return StreamingResponse(chunks())


@router.get("/ready")
async def _ready(status: int = 200) -> Response:
    return PlainTextResponse("", status)


async def plain_asgi(scope: Scope, _receive: Receive, send: Send) -> None:
    """Respond without a framework, or raise before or after the headers are sent."""
    msg = "secret hunter2"
    if scope["path"] == "/raise":
        raise ValueError(msg)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Trace-Id", b"invented")]})
    if scope["path"] == "/headers-then-raise":
        raise ValueError(msg)
    await send({"type": "http.response.body", "body": b"ok"})
