"""One module for each way to instrument the application, with a function `build`."""

import importlib
from typing import NamedTuple, Protocol, TextIO

from starlette.types import ASGIApp


class Build(Protocol):
    """Build an application and configure the logging of this process."""

    def __call__(self, stream: TextIO, *, served: bool) -> ASGIApp:
        """Build the application; `served` is whether uvicorn serves it, or the benchmark calls it in process."""


class Variant(NamedTuple):
    """A way to instrument the application; `access_log` is whether uvicorn's access log writes its request lines."""

    name: str
    description: str
    access_log: bool

    def build(self) -> Build:
        """Return the function `build` of the module; raise `ImportError` if a package is missing."""
        module = importlib.import_module(f"{__name__}.{self.name}")
        build: Build = module.build
        return build


BARE = Variant("bare", "FastAPI alone, without log lines, metrics or ids", access_log=False)
OURS = Variant("ours", "app/observability", access_log=False)
PEERS = (
    Variant(
        "instrumentator",
        "asgi-correlation-id + prometheus-fastapi-instrumentator, cut down to one histogram + python-json-logger",
        access_log=True,
    ),
    Variant(
        "instrumentator_default",
        "the same with all default metrics of the instrumentator, as in its manual's first example",
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
