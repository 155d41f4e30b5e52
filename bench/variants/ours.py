"""The application as app/main.py observes its own; and parts of that, to see what each costs."""

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


class Uncounted(Observability):
    """Does not count the requests in flight."""

    def arrived(self) -> None:
        """Do nothing."""

    def left(self) -> None:
        """Do nothing."""


def part(stream: TextIO, kind: type[Observability], *sinks: type[Sink], quiet: bool = False, timers: bool) -> ASGIApp:
    """Make the application with some `sinks` only; `quiet` makes not even an event for them."""
    application = api(timers=timers)
    routes = openapi_routes(application)
    observability = kind("bench", routes=routes, quiet={ROUTE} if quiet else ())
    told = tuple(sink for sink in observability._sinks if isinstance(sink, sinks))  # noqa: SLF001 - no way in for users
    observability._sinks = told  # noqa: SLF001
    configure_logging(observability, stream)
    return ObservedApp(application, observability)


def parts(stream: TextIO) -> dict[str, ASGIApp]:
    """Make the application with one more part each time."""
    return {
        "id in and out": part(stream, Uncounted, quiet=True, timers=False),
        "+ event: route, duration, outcome; told to nobody": part(stream, Uncounted, timers=False),
        "+ timers: two blocks and a field": part(stream, Uncounted, timers=True),
        "+ line": part(stream, Uncounted, LogSink, timers=True),
        "+ histogram with exemplar": part(stream, Uncounted, Metrics, LogSink, timers=True),
        "+ requests in flight; that is all": part(stream, Observability, Metrics, LogSink, timers=True),
    }
