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
    """An error whose text the application wrote."""


router = APIRouter()
things = APIRouter(prefix="/things")


def api() -> FastAPI:
    """Make an application that answers, annotates, fails, streams and works in the background."""
    app = FastAPI()
    app.include_router(router)
    app.include_router(things, prefix="/api")
    return app


@things.get("/{thing_id}")
async def _thing(thing_id: int) -> dict[str, int]:
    annotate(user_id=thing_id, status="not yours to set")
    with timer("db"):
        logger.info("Thing %d found", thing_id)
    with timer("db"):
        await asyncio.sleep(0)
    return {"id": thing_id}


@things.post("")
async def _refuse(request: Request) -> None:
    await request.json()
    msg = "secret hunter2"
    raise ValueError(msg)


@router.get("/own")
async def _own() -> None:
    msg = "the answer is known"
    raise OwnError(msg)


@router.get("/handled")
async def _handled() -> Response:
    record_exception(OwnError("payments is away"))
    return PlainTextResponse("sorry", 503)


@router.get("/gone")
async def _gone() -> None:
    raise HTTPException(410)


@router.get("/later")
async def _later(tasks: BackgroundTasks) -> str:
    async def work() -> None:
        await asyncio.sleep(0.2)
        logger.info("Worked in the background")

    tasks.add_task(work)
    return "soon"


@router.get("/stream")
async def _stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.1)
        yield b"last"

    return StreamingResponse(parts())


@router.get("/ready")
async def _ready(broken: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
    return PlainTextResponse("", 503 if broken else 200)


async def raw(scope: Scope, _receive: Receive, send: Send) -> None:
    """Be an application without a framework: it answers, or raises before or after it began to."""
    if scope["path"] == "/raises":
        msg = "secret hunter2"
        raise ValueError(msg)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Trace-Id", b"made up")]})
    if scope["path"] == "/breaks":
        msg = "secret hunter2"
        raise ValueError(msg)
    await send({"type": "http.response.body", "body": b"ok"})
