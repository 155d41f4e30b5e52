"""JSON logging as the manuals of the other packages describe it, and a middleware that logs each request."""

import logging
from time import perf_counter
from typing import TextIO

from pythonjsonlogger.orjson import OrjsonFormatter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bench")


def configure_json(stream: TextIO, fields: str, *filters: logging.Filter) -> None:
    """Configure the root logger: JSON lines on `stream`, with `fields` and those that `filters` add."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OrjsonFormatter(f"message,levelname,name,{fields}", style=",", timestamp=True))
    for each in filters:
        handler.addFilter(each)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


class LoggedApp:
    """A minimal access log, for applications that run without uvicorn."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            extra = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "duration_ms": round((perf_counter() - began) * 1000, 3),
            }
            logger.info("Request finished", extra=extra)
