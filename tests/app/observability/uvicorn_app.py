"""Applications behind a real uvicorn: `python -m tests.app.observability.uvicorn_app PORT HTTP LOOP`."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from functools import partial

import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from app.observability import ObservabilityMiddleware, annotate, configure_logging, metrics_page
from app.observability.middleware import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("tested")
router = APIRouter()


@router.post("/echo/{key}")
async def _echo(key: str, request: Request, background: BackgroundTasks) -> int:
    """Log from the request, a thread pool, a thread and a background task; return the size of the body."""
    log = partial(logger.info, "Echo", extra={"key": key})
    annotate(key=key)
    size = len(await request.body())
    log()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_in_threadpool(log))
        group.create_task(asyncio.to_thread(log))
    background.add_task(log)
    return size


@router.get("/sync/{key}")
def _sync(key: str) -> str:
    annotate(key=key)
    logger.info("Sync", extra={"key": key})
    return key


@router.post("/upload")
async def _upload(request: Request) -> int:
    logger.info("Upload started")
    return len(await request.body())


@router.post("/ignore-body")
async def _ignore_body() -> str:
    return "done"


@router.get("/items/{item}")
async def _item(item: int) -> int:
    return item


@router.get("/block")
async def _block() -> None:
    time.sleep(0.7)  # noqa: ASYNC251 - the mistake that the lag metric shows


@router.get("/stream")
async def _stream(*, fail: bool = False) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        if fail:
            msg = "hunter2 in a stream"
            raise ValueError(msg)
        await asyncio.sleep(60)

    return StreamingResponse(chunks())


@router.get("/background")
async def _background(background: BackgroundTasks) -> str:
    async def fail() -> None:
        msg = "hunter2 in the background"
        raise ValueError(msg)

    background.add_task(fail)
    return "done"


@router.get("/unawaited-task")
async def _unawaited_task() -> str:
    async def fail() -> None:
        msg = "hunter2 in a task"
        raise ValueError(msg)

    asyncio.get_running_loop().create_task(fail())
    return "done"


@router.get("/callback")
async def _callback() -> str:
    asyncio.get_running_loop().call_soon(int, "hunter2 in a callback")
    return "done"


@router.get("/group")
async def _group() -> None:
    async def fail() -> None:
        msg = "hunter2 in a group"
        raise KeyError(msg)

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


@router.get("/cancelled")
async def _cancelled() -> None:
    raise asyncio.CancelledError


@router.get("/raise")
async def _raise() -> None:
    msg = "hunter2"
    raise ValueError(msg)


@router.websocket("/socket")
async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    logger.info("Accepted")
    if await socket.receive_text() == "fail":
        msg = "hunter2 in a websocket"
        raise ValueError(msg)
    await socket.close(1000)


@router.get("/metrics")
async def _metrics(request: Request) -> Response:
    page, content_type = metrics_page(request.headers.get("accept", ""))
    return Response(page, headers={"content-type": content_type})


def fastapi() -> FastAPI:
    api = FastAPI()
    api.include_router(router)
    return api


def starlette() -> Starlette:
    async def fail(_: Request) -> Response:
        msg = "hunter2 in Starlette"
        raise ValueError(msg)

    async def respond(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def redirect(_: Request) -> Response:
        return RedirectResponse("/starlette/ok", 307)

    routes = [Route("/raise", fail), Route("/ok", respond), Route("/redirect", redirect)]
    return Starlette(routes=[Mount("/starlette", routes=routes)])


async def plain_asgi(scope: Scope, _receive: Receive, send: Send) -> None:
    """Respond without a framework: completely, partly, or not at all."""
    path = scope["path"].removeprefix("/asgi")
    msg = "hunter2 in plain ASGI"
    if path == "/raise":
        raise ValueError(msg)
    if path == "/no-response":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Trace-Id", b"invented")]})
    if path == "/headers-only":
        return
    if path == "/headers-then-raise":
        raise ValueError(msg)
    await send({"type": "http.response.body", "body": b"ok"})


def application() -> ASGIApp:
    """Return one application that passes `/starlette` and `/asgi` to the others; each of the three is instrumented."""
    default = ObservabilityMiddleware(fastapi(), exclude={"/metrics"})
    others = {
        "starlette": ObservabilityMiddleware(starlette(), registry=CollectorRegistry()),
        "asgi": ObservabilityMiddleware(plain_asgi, registry=CollectorRegistry()),
    }

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        _, _, path = scope.get("path", "/").partition("/")
        await others.get(path.partition("/")[0], default)(scope, receive, send)

    return dispatch


if __name__ == "__main__":
    port, http, loop = sys.argv[1:]
    configure_logging("tested", f"127.0.0.1:{port}", safe_exceptions=())
    uvicorn.run(
        application(),
        port=int(port), http=http, loop=loop, ws="wsproto", log_config=None, log_level="warning", access_log=False,
        timeout_graceful_shutdown=3, timeout_keep_alive=75,
    )  # fmt: skip
