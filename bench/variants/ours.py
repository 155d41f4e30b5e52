"""The application with ObservabilityMiddleware, as app/main.py uses it; and parts of it, to see what each costs."""

import importlib
import logging
from contextlib import suppress
from typing import TextIO

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app.observability import ObservabilityMiddleware, configure_logging
from bench.application import METRICS, ROUTE, api, show_metrics

with suppress(ImportError):  # so that the price includes the look for an active span
    importlib.import_module("opentelemetry.trace")


def build(stream: TextIO, *, served: bool) -> ASGIApp:  # noqa: ARG001 - its line is the same
    """Build the application."""
    application, registry = api(), CollectorRegistry()
    show_metrics(application, registry)
    configure_logging("bench", stream=stream)
    return ObservabilityMiddleware(application, registry=registry, exclude={METRICS})


def parts(stream: TextIO) -> dict[str, tuple[ASGIApp, list[logging.Handler]]]:
    """Build the application with one more part each time, and the handlers of the root logger that belong to it."""
    configure_logging("bench", stream=stream)
    null: list[logging.Handler] = [logging.NullHandler()]
    written = logging.getLogger().handlers[:]
    return {
        "id in and out": (_part(exclude=True), null),
        "+ route, histogram with exemplar, log record": (_part(), null),
        "+ line; that is all": (_part(), written),
        "+ timers: two blocks and a field, where an application has them": (_part(timers=True), written),
    }


def _part(*, exclude: bool = False, timers: bool = False) -> ASGIApp:
    excluded = {ROUTE} if exclude else set[str]()
    return ObservabilityMiddleware(api(timers=timers), registry=CollectorRegistry(), exclude=excluded)
