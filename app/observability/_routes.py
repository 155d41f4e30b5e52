"""The template of the route that served a request, as people read it in OpenAPI."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from ._asgi import Scope

UNMATCHED = "unmatched"


class DescribesItself(Protocol):
    """An application with an OpenAPI description, such as FastAPI."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""


def openapi_routes(app: DescribesItself) -> frozenset[str]:
    """Return the templates of all routes that the application describes."""
    paths: Mapping[str, object] = app.openapi().get("paths", {})
    return frozenset(paths)


def route_template(scope: Scope, root_path: str, routes: Collection[str]) -> str:
    """Return the template in `routes` that the application chose for this request, or `unmatched`.

    To be asked when the application is done: routers write their choice into the scope that they were given. A mount
    adds its prefix to `root_path`, so what it gained since entry belongs to the template.

    Anything outside `routes` is `unmatched`: what a client can make up would be a new series each time.
    """
    now: str = scope.get("root_path", "")
    chosen = _chosen_path(scope) or ""
    template = now.removeprefix(root_path) + chosen
    if template in routes:
        return template
    # `FastAPI(root_path=...)` sets it, too, and is no mount. What it was before all mounts, Starlette notes.
    template = now.removeprefix(scope.get("app_root_path", now)) + chosen
    if template in routes:
        return template
    path: str = scope.get("path", "").removeprefix(root_path)
    return path if path in routes else UNMATCHED


def _chosen_path(scope: Scope) -> str | None:
    # FastAPI's included routers keep the path without the prefix in `route`, and the whole one here.
    effective = scope.get("fastapi", {}).get("effective_route_context")
    chosen = effective if effective is not None else scope.get("route")
    return getattr(chosen, "path", None)
