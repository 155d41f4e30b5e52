"""asgi-correlation-id, prometheus-fastapi-instrumentator as its manual begins, and python-json-logger."""

from typing import TextIO

from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.types import ASGIApp

from bench.application import api, show_metrics
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Make it, with all that the instrumentator measures unless it is told otherwise."""
    application, registry = api(), CollectorRegistry()
    Instrumentator(registry=registry).instrument(application)
    show_metrics(application, registry)
    if not served:
        application.add_middleware(LoggedApp)
    application.add_middleware(CorrelationIdMiddleware)
    configure_json(stream, "correlation_id", CorrelationIdFilter())
    return application
