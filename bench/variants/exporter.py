"""asgi-correlation-id, starlette-exporter and python-json-logger, combined as in their manuals."""

from typing import TextIO

from asgi_correlation_id import CorrelationIdFilter, CorrelationIdMiddleware, correlation_id
from starlette.types import ASGIApp
from starlette_exporter import PrometheusMiddleware, handle_openmetrics

from app.observability import BUCKETS
from bench.application import METRICS, api
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Build the application. The counter and the gauge of starlette-exporter cannot be switched off."""
    application = api()
    application.add_route(METRICS, handle_openmetrics)
    application.add_middleware(PrometheusMiddleware, buckets=BUCKETS, skip_paths=[METRICS], exemplars=_exemplar)
    if not served:
        application.add_middleware(LoggedApp)
    application.add_middleware(CorrelationIdMiddleware)
    configure_json(stream, "correlation_id", CorrelationIdFilter())
    return application


def _exemplar() -> dict[str, str]:
    return {"trace_id": correlation_id.get() or "-"}
