"""One of the services, composed and served by uvicorn."""

import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from app import main as api
from app.observability import ObservabilityMiddleware, configure_logging
from app.payments import main as payments
from app.problems import ServiceError
from app.settings import PaymentsSettings, ServerSettings, Settings

_STOP = 8  # seconds for requests in flight; Docker kills after 10
_KEEP_ALIVE = 75  # seconds; longer than a load user pauses, or it finds its connection closed

_SERVICES: dict[str, tuple[type[ServerSettings], Callable[[Any], ObservabilityMiddleware]]] = {
    "api": (Settings, api.create_app),
    "payments": (PaymentsSettings, payments.create_app),
}


class CannotServeError(Exception):
    """A sentence that says what a person has to mend."""


def serve(service: str) -> None:
    """Serve `service` until a signal stops it; `CannotServeError` if its settings or its port are wrong."""
    kind, create_app = _SERVICES[service]
    disable_created_metrics()  # a second series for every counter and histogram, which nobody reads
    settings = _settings(kind)
    # The messages of other libraries may contain what a user sent; those of our own errors do not.
    configure_logging(service, settings.own_instance, safe_exceptions=(ServiceError,))
    app = create_app(settings)
    logging.getLogger("app").setLevel(settings.log_level.upper())
    config = uvicorn.Config(
        app,
        log_config=None,  # ours is there already
        log_level="warning",  # `service.started` and `service.stopped` replace its lines
        access_log=False,  # `request.finished` says more
        server_header=False,
        workers=settings.web_concurrency,  # or uvicorn reads the variable itself, and fails at one that is empty
        reset_contextvars=True,  # or a request on a keep-alive connection inherits what the one before it set
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_STOP,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[_listen(settings.host, settings.port)])
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell expects after Ctrl-C


def _settings(kind: type[ServerSettings]) -> ServerSettings:
    try:
        return kind()
    except ValidationError as exc:
        wrong = "; ".join(f"{str(error['loc'][0]).upper()}: {error['msg']}" for error in exc.errors())
        raise CannotServeError(wrong) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]  # the rest repeats the address
        msg = f"Cannot listen on {host}:{port}: {reason}. Stop what uses it, or set HOST or PORT."
        raise CannotServeError(msg) from None
