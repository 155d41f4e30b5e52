"""The beginning and the end of a service, as its lines tell them."""

import logging
import sys

from ._asgi import ASGIApp, Message, Receive, Scope, Send
from ._failure import mark_as_told
from ._observer import Observer

logger = logging.getLogger("observability")


async def observe_lifespan(app: ASGIApp, observer: Observer, scope: Scope, receive: Receive, send: Send) -> None:
    """Tell when requests are let in, and after the last one how many there were; take a failed start's texts away."""

    async def tell(message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            logger.info("Service started", extra={"event": "service.started"})
        elif kind == "lifespan.shutdown.complete":
            logger.info("Service stopped", extra={"event": "service.stopped", "totals": observer.metrics.totals()})
        else:
            # Starlette sends a traceback as text here, which the server would log, the exception's own words included.
            message = {**message, "message": ""}
            _tell_failure("start" if kind == "lifespan.startup.failed" else "stop")
        await send(message)

    observer.heartbeat.watch()
    try:
        await app(scope, receive, tell)
    finally:
        observer.heartbeat.stop()


def _tell_failure(what: str) -> None:
    exc = sys.exc_info()[1]
    logger.critical("Service cannot %s", what, exc_info=exc)
    if exc is not None:
        mark_as_told(exc)
