"""Small applications to observe."""

import asyncio
import logging

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from app.observability import annotate, record_failure, timed
from app.observability._asgi import Receive, Scope, Send

logger = logging.getLogger("tested")


class OwnError(Exception):
    """An error whose text the application wrote."""


def api() -> FastAPI:
    """Make an application that answers, annotates, fails, streams and works in the background."""
    app = FastAPI()
    router = APIRouter(prefix="/things")

    @router.get("/{thing_id}")
    async def thing(thing_id: int) -> dict[str, int]:
        annotate(user_id=thing_id, status="not yours to set")
        with timed("db"):
            logger.info("Thing %d found", thing_id)
        with timed("db"):
            await asyncio.sleep(0)
        return {"id": thing_id}

    @router.post("")
    async def refuse(request: Request) -> None:
        await request.json()
        msg = "secret hunter2"
        raise ValueError(msg)

    app.include_router(router, prefix="/api")

    @app.get("/own")
    async def own() -> None:
        msg = "the answer is known"
        raise OwnError(msg)

    @app.get("/handled")
    async def handled() -> Response:
        record_failure(OwnError("payments is away"))
        return PlainTextResponse("sorry", 503)

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410)

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> str:
        async def work() -> None:
            await asyncio.sleep(0.2)
            logger.info("Worked in the background")

        tasks.add_task(work)
        return "soon"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> object:
            yield b"first"
            await asyncio.sleep(0.1)
            yield b"last"

        return StreamingResponse(parts())  # type: ignore[arg-type]

    @app.get("/ready")
    async def ready(broken: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        return PlainTextResponse("", 503 if broken else 200)

    return app


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
