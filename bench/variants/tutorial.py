"""A single BaseHTTPMiddleware for everything, as in many tutorials."""

import logging
from contextvars import ContextVar
from time import perf_counter
from typing import TextIO
from uuid import uuid4

from prometheus_client import CollectorRegistry, Histogram
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app.observability import BUCKETS
from bench.application import METRICS, add_metrics_endpoint, api
from bench.lines import configure_json

logger = logging.getLogger("bench")
request_id_var: ContextVar[str] = ContextVar("request_id", default="-")


def build(stream: TextIO, *, served: bool) -> ASGIApp:  # noqa: ARG001 - same lines in both cases
    """Build the application."""
    application, registry = api(), CollectorRegistry()
    labels = ("method", "path", "status")
    duration = Histogram("http_request_duration_seconds", "Latency.", labels, buckets=BUCKETS, registry=registry)
    add_metrics_endpoint(application, registry)
    application.add_middleware(_Middleware, duration=duration)
    configure_json(stream, "request_id", _RequestIdFilter())
    return application


class _Middleware(BaseHTTPMiddleware):
    def __init__(self, app: ASGIApp, duration: Histogram) -> None:
        super().__init__(app)
        self._duration = duration

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.url.path == METRICS:
            return await call_next(request)
        request_id = request.headers.get("x-request-id") or uuid4().hex
        request_id_var.set(request_id)
        began = perf_counter()
        response = await call_next(request)
        seconds = perf_counter() - began
        route = request.scope.get("route")
        path = route.path if route else request.url.path
        self._duration.labels(request.method, path, response.status_code).observe(seconds, {"trace_id": request_id})
        response.headers["X-Request-ID"] = request_id
        extra = {
            "method": request.method,
            "path": path,
            "status": response.status_code,
            "duration_ms": round(seconds * 1000, 3),
        }
        logger.info("Request finished", extra=extra)
        return response


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id_var.get()
        return True
