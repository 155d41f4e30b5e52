"""Lines as the peers' manuals make them: python-json-logger on the root logger, and a layer that logs each request."""

import logging
from time import perf_counter
from typing import TextIO

from pythonjsonlogger.orjson import OrjsonFormatter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bench")


def configure_json(stream: TextIO, fields: str, *filters: logging.Filter) -> None:
    """Write every line of this process to `stream`, as JSON with `fields`, and with what `filters` add."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OrjsonFormatter(f"message,levelname,name,{fields}", style=",", timestamp=True))
    for each in filters:
        handler.addFilter(each)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


class LoggedApp:
    """The least that logs a line for each request, where there is no uvicorn to do it."""

    def __init__(self, app: ASGIApp) -> None:
        """Log the requests of `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            extra = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "duration_ms": round((perf_counter() - began) * 1000, 3),
            }
            logger.info("Request finished", extra=extra)
