"""asgi-correlation-id, prometheus-fastapi-instrumentator with default metrics, and python-json-logger."""

from typing import TextIO

from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.types import ASGIApp

from bench.application import add_metrics_endpoint, api
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Build the application with all default metrics of the instrumentator."""
    application, registry = api(), CollectorRegistry()
    Instrumentator(registry=registry).instrument(application)
    add_metrics_endpoint(application, registry)
    if not served:
        application.add_middleware(LoggedApp)
    application.add_middleware(CorrelationIdMiddleware)
    configure_json(stream, "correlation_id", CorrelationIdFilter())
    return application
