"""One module for each way to instrument the application: `build` makes it."""

import importlib
from typing import NamedTuple, Protocol, TextIO

from starlette.types import ASGIApp


class Build(Protocol):
    """Makes an application, and has its process log to a stream as that application needs it."""

    def __call__(self, stream: TextIO, *, served: bool) -> ASGIApp:
        """Make it, to be `served` by uvicorn or to be called."""


class Variant(NamedTuple):
    """A way to instrument: its module here, what it is made of, and who writes its line when uvicorn serves it."""

    name: str
    made_of: str
    access_log: bool

    def build(self) -> Build:
        """Return its `build`; `ImportError` if a package is missing."""
        module = importlib.import_module(f"{__name__}.{self.name}")
        build: Build = module.build
        return build


BARE = Variant("bare", "FastAPI alone: no line, no metric, no id", access_log=False)
OURS = Variant("ours", "app/observability", access_log=False)
PEERS = (
    Variant(
        "instrumentator",
        "asgi-correlation-id + prometheus-fastapi-instrumentator, cut down to one histogram + python-json-logger",
        access_log=True,
    ),
    Variant(
        "instrumentator_default",
        "the same, with the instrumentator as its manual begins: all of its default metrics",
        access_log=True,
    ),
    Variant("exporter", "asgi-correlation-id + starlette-exporter + python-json-logger", access_log=True),
    Variant(
        "otel",
        "opentelemetry-instrumentation-fastapi + opentelemetry-exporter-prometheus + python-json-logger",
        access_log=True,
    ),
    Variant("tutorial", "a BaseHTTPMiddleware + prometheus-client + python-json-logger", access_log=False),
)
VARIANTS = (BARE, OURS, *PEERS)
