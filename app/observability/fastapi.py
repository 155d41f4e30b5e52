"""ObservedFastAPI: FastAPI inside of the middleware. This is the only module that needs FastAPI."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware

from .middleware import ASGIApp, ObservabilityMiddleware


class ObservedFastAPI(FastAPI):
    """A FastAPI application with `ObservabilityMiddleware` around all of it.

    `app.add_middleware` would put it inside of the layer that answers unhandled errors, so these responses would have
    no id. `fastapi run`, `dependency_overrides` and `TestClient` work as usual.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - FastAPI's arguments
        observability: Callable[[ASGIApp], ASGIApp] = ObservabilityMiddleware,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Accept FastAPI's arguments and `observability`.

        Pass options with `functools.partial(ObservabilityMiddleware, exclude={"/metrics"})`.
        """
        super().__init__(*args, **kwargs)
        self._observability = observability

    def build_middleware_stack(self) -> ASGIApp:
        """Return FastAPI's middleware stack, wrapped in the observability middleware.

        The outermost layer is a `ServerErrorMiddleware`, as in every Starlette application: OpenTelemetry's
        `instrument_app` refuses any other.
        """
        return ServerErrorMiddleware(self._observability(super().build_middleware_stack()))
