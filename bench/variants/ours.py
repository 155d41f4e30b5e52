"""The application with ObservabilityMiddleware, and with parts of it, to measure the cost of each."""

import importlib
import logging
from contextlib import suppress
from typing import TextIO

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app.observability import ObservabilityMiddleware, configure_logging
from bench.application import METRICS, ROUTE, add_metrics_endpoint, api

with suppress(ImportError):  # so that the cost includes the check for an active span
    importlib.import_module("opentelemetry.trace")


def build(stream: TextIO, *, served: bool) -> ASGIApp:  # noqa: ARG001 - same lines in both cases
    """Build the application."""
    application, registry = api(), CollectorRegistry()
    add_metrics_endpoint(application, registry)
    configure_logging("bench", stream=stream)
    return ObservabilityMiddleware(application, registry=registry, exclude={METRICS})


def parts(stream: TextIO) -> dict[str, tuple[ASGIApp, list[logging.Handler]]]:
    """Return applications with one more part each, and the handlers of the root logger for each."""
    configure_logging("bench", stream=stream)
    null: list[logging.Handler] = [logging.NullHandler()]
    handlers = logging.getLogger().handlers[:]
    return {
        "trace id from and to headers": (_part(exclude=True), null),
        "+ route, histogram with exemplar, log record": (_part(), null),
        "+ log line (complete)": (_part(), handlers),
        "+ two timers and a field, set by the application": (_part(timers=True), handlers),
    }


def _part(*, exclude: bool = False, timers: bool = False) -> ASGIApp:
    excluded = {ROUTE} if exclude else set[str]()
    return ObservabilityMiddleware(api(timers=timers), registry=CollectorRegistry(), exclude=excluded)
