"""The application as app/main.py observes its own; and parts of that, to see what each costs."""

from dataclasses import replace
from typing import TextIO

from starlette.types import ASGIApp

from app.observability import Observability, ObservedApp, configure_logging, openapi_routes
from app.observability._event import Sink
from app.observability._logging import LogSink
from app.observability._metrics import Metrics
from bench.application import METRICS, ROUTE, api, show_metrics


def build(stream: TextIO, *, served: bool) -> ASGIApp:  # noqa: ARG001 - its line is the same
    """Make it."""
    application = api()
    observability = Observability("bench", routes=openapi_routes(application), quiet={METRICS})
    show_metrics(application, observability.registry)
    configure_logging(observability, stream)
    return observability.wrap(application)


def part(stream: TextIO, *sinks: type[Sink], quiet: bool = False, timers: bool) -> ASGIApp:
    """Make the application with some `sinks` only; `quiet` makes not even an event for them."""
    application = api(timers=timers)
    observability = Observability("bench", routes=openapi_routes(application), quiet={ROUTE} if quiet else ())
    configure_logging(observability, stream)
    observer = observability._observer  # noqa: SLF001 - no way in for users
    told = tuple(sink for sink in observer.sinks if isinstance(sink, sinks))
    return ObservedApp(application, replace(observer, sinks=told))


def parts(stream: TextIO) -> dict[str, ASGIApp]:
    """Make the application with one more part each time."""
    return {
        "id in and out": part(stream, quiet=True, timers=False),
        "+ event: route, duration, outcome; told to nobody": part(stream, timers=False),
        "+ histogram with exemplar": part(stream, Metrics, timers=False),
        "+ line; that is all": part(stream, Metrics, LogSink, timers=False),
        "+ timers: two blocks and a field, where an application has them": part(stream, Metrics, LogSink, timers=True),
    }
