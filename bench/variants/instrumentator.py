"""asgi-correlation-id, prometheus-fastapi-instrumentator and python-json-logger, as their manuals put them together."""

from typing import TextIO

from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette.types import ASGIApp

from app.observability import BUCKETS
from bench.application import METRICS, api, show_metrics
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Make it: of the default metrics only the histogram, without groups of statuses."""
    application, registry = api(), CollectorRegistry()
    instrumentator = Instrumentator(
        should_group_status_codes=False, excluded_handlers=[f"^{METRICS}$"], registry=registry
    )
    instrumentator.add(metrics.latency(buckets=BUCKETS, registry=registry))
    instrumentator.instrument(application)
    show_metrics(application, registry)
    if not served:
        application.add_middleware(LoggedApp)
    application.add_middleware(CorrelationIdMiddleware)
    configure_json(stream, "correlation_id", CorrelationIdFilter())
    return application
