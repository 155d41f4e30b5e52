"""An application behind a real uvicorn: `python -m tests.app.observability.served KIND PORT HTTP LOOP`."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial

import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from app.observability import ObservabilityMiddleware, annotate, configure_logging, metrics_page
from app.observability.middleware import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("tested")
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


router = APIRouter()


def fastapi() -> FastAPI:
    """Make an application that does all that may confuse an observer."""
    api = FastAPI()
    api.include_router(router)
    return api


@router.post("/echo/{nonce}")
async def _echo(nonce: str, request: Request, later: BackgroundTasks) -> int:
    inherited = tenant.get()
    tenant.set(nonce)
    say = partial(logger.info, "nonce", extra={"nonce": nonce, "inherited": inherited})
    annotate(nonce=nonce)
    size = len(await request.body())
    say()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_in_threadpool(say))
        group.create_task(asyncio.to_thread(say))
    later.add_task(say)
    return size


@router.get("/sync/{nonce}")
def _sync(nonce: str) -> str:
    annotate(nonce=nonce)
    logger.info("nonce", extra={"nonce": nonce, "inherited": "nobody"})
    return nonce


@router.get("/slow")
@router.post("/slow")
async def _slow(seconds: float = 1) -> str:
    await asyncio.sleep(seconds)
    return "done"


@router.get("/block")
async def _block(seconds: float = 1) -> str:
    time.sleep(seconds)  # noqa: ASYNC251 - this is what must not be done
    return "done"


@router.get("/stream")
async def _stream(seconds: float = 0.1, *, breaks: bool = False) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        await asyncio.sleep(seconds)
        if breaks:
            msg = "hunter2 in the middle"
            raise ValueError(msg)
        yield b"last"

    return StreamingResponse(parts())


@router.get("/background")
async def _background(later: BackgroundTasks) -> str:
    async def work() -> None:
        await asyncio.sleep(0.3)
        msg = "hunter2 in the background"
        raise ValueError(msg)

    later.add_task(work)
    return "soon"


@router.get("/forgotten")
async def _forgotten() -> str:
    async def work() -> None:
        msg = "hunter2 forgotten"
        raise ValueError(msg)

    asyncio.get_running_loop().create_task(work())
    return "gone"


@router.get("/called-back")
async def _called_back() -> str:
    asyncio.get_running_loop().call_soon(int, "hunter2 called back")
    return "gone"


@router.get("/group")
async def _group() -> None:
    async def work() -> None:
        msg = "hunter2 in a group"
        raise KeyError(msg)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())


@router.get("/cancelled")
async def _cancelled() -> None:
    raise asyncio.CancelledError


@router.get("/raises")
async def _raises() -> None:
    msg = "hunter2 unhandled"
    raise ValueError(msg)


@router.websocket("/socket")
async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    logger.info("Greeted")
    if await socket.receive_text() == "break":
        msg = "hunter2 in a socket"
        raise ValueError(msg)
    await socket.close(1000)


@router.get("/metrics")
async def _metrics(request: Request) -> Response:
    page, kind = metrics_page(request.headers.get("accept", ""))
    return Response(page, headers={"content-type": kind})


def starlette() -> Starlette:
    """Make an application without OpenAPI."""

    async def raises(_: Request) -> Response:
        msg = "hunter2 in Starlette"
        raise ValueError(msg)

    async def ok(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def away(_: Request) -> Response:
        return RedirectResponse("/ok", 307)

    return Starlette(routes=[Route("/raises", raises), Route("/ok", ok), Route("/away", away)])


async def raw(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer without a framework, break down, or forget to answer."""
    if scope["path"] == "/raises":
        msg = "hunter2 raw"
        raise ValueError(msg)
    if scope["path"] == "/silent":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Trace-Id", b"made up")]})
    if scope["path"] == "/half":
        return
    if scope["path"] == "/breaks":
        msg = "hunter2 raw"
        raise ValueError(msg)
    await send({"type": "http.response.body", "body": b"ok"})


def main(kind: str, port: str, http: str, loop: str) -> None:
    """Serve one of them, observed, until a signal comes."""
    api = fastapi()
    apps: dict[str, ASGIApp] = {"raw": raw, "starlette": starlette(), "fastapi": api}
    configure_logging(kind, f"127.0.0.1:{port}", safe_exceptions=())
    app = ObservabilityMiddleware(apps[kind], routes={"/ok", "/breaks", "/half", "/silent"}, exclude={"/metrics"})
    uvicorn.run(
        app,
        port=int(port), http=http, loop=loop, ws="wsproto", log_config=None, log_level="warning", access_log=False,
        reset_contextvars=True, timeout_graceful_shutdown=3, timeout_keep_alive=75,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
