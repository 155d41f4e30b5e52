"""asgi-correlation-id, prometheus-fastapi-instrumentator and python-json-logger, combined as in their manuals."""

from typing import TextIO

from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette.types import ASGIApp

from app.observability import BUCKETS
from bench.application import METRICS, add_metrics_endpoint, api
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Build the application with one histogram, without grouping of statuses."""
    application, registry = api(), CollectorRegistry()
    instrumentator = Instrumentator(
        should_group_status_codes=False, excluded_handlers=[f"^{METRICS}$"], registry=registry
    )
    instrumentator.add(metrics.latency(buckets=BUCKETS, registry=registry))
    instrumentator.instrument(application)
    add_metrics_endpoint(application, registry)
    if not served:
        application.add_middleware(LoggedApp)
    application.add_middleware(CorrelationIdMiddleware)
    configure_json(stream, "correlation_id", CorrelationIdFilter())
    return application
