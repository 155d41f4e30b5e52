"""Serve one of the services with uvicorn."""

import logging
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from app import main as api
from app.connections import Config
from app.errors import ServiceError
from app.observability import ObservabilityMiddleware, configure_logging
from app.payments import main as payments
from app.settings import PaymentsSettings, ServerSettings, Settings

logger = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT = 8  # seconds for requests in flight; Docker kills the process after 10
# Standard streams, sockets and the database. Besides, each request may need a connection to another service.
_OTHER_FILES = 48
_KEEP_ALIVE = 75  # seconds; longer than a load user pauses, so that its next request does not meet a closed connection

_SERVICES: dict[str, tuple[type[ServerSettings], Callable[[Any], ObservabilityMiddleware]]] = {
    "api": (Settings, api.create_app),
    "payments": (PaymentsSettings, payments.create_app),
}


class StartupError(Exception):
    """The service cannot start. The message contains the remedy."""


def serve(service: str) -> None:
    """Serve `service` until a signal stops it. Raises `StartupError` if a setting is invalid or the port is in use."""
    settings_type, create_app = _SERVICES[service]
    settings = _settings(settings_type)
    # The messages of other exceptions may contain what a user sent.
    configure_logging(service, settings.own_instance, safe_exceptions=(ServiceError,))
    logging.getLogger("app").setLevel(settings.log_level.upper())
    disable_created_metrics()  # they would double the number of series
    run(create_app(settings), settings)


def run(app: ObservabilityMiddleware, settings: ServerSettings) -> None:
    """Serve an application until a signal stops it. Raises `StartupError` if the port is in use."""
    config = Config(
        app,
        settings,
        max_connections=_limit_connections(settings.max_connections),
        log_config=None,  # logging is configured already
        # `service.started` and `service.stopped` replace uvicorn's messages. Its warnings are about single requests: a
        # client could fill the log with them.
        log_level="error",
        access_log=False,  # `request.finished` replaces it
        server_header=False,
        proxy_headers=False,  # anyone can send `X-Forwarded-For` and `X-Forwarded-Proto`, and no code needs them
        workers=settings.web_concurrency,  # otherwise uvicorn reads the variable, and fails if it is empty
        reset_contextvars=True,  # requests on one connection must not share a context
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[_listen(settings.host, settings.port)])
    except KeyboardInterrupt:
        sys.exit(130)  # the exit code that shells expect after Ctrl-C


def _limit_connections(wanted: int) -> int:
    """Return how many connections the system's limit of open files allows.

    Without a limit, the event loop resets new connections when there are no more files, and logs nothing.
    """
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OTHER_FILES + 2 * wanted
    if files != resource.RLIM_INFINITY and files < needed:
        files = needed if most == resource.RLIM_INFINITY else min(needed, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    allowed = max(1, (files - _OTHER_FILES) // 2) if files != resource.RLIM_INFINITY else wanted
    if allowed < wanted:
        logger.warning("Only %d connections are accepted, because the process may open %d files", allowed, files)
    return min(allowed, wanted)


def _settings(settings_type: type[ServerSettings]) -> ServerSettings:
    try:
        return settings_type()
    except ValidationError as exc:
        errors = "; ".join(f"{str(error['loc'][0]).upper()}: {error['msg']}" for error in exc.errors())
        raise StartupError(errors) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]  # the rest repeats the address
        msg = f"Cannot listen on {host}:{port}: {reason}. Stop the process that uses it, or set HOST or PORT."
        raise StartupError(msg) from None
