"""The template of the route that served a request, such as `/users/{user_id}`."""

from collections.abc import Collection, Mapping
from typing import Any

UNMATCHED = "unmatched"


def route_template(
    scope: Mapping[str, Any], entry: Mapping[str, Any] | None = None, paths: Collection[str] = ()
) -> str:
    """Return the template of Starlette's or FastAPI's route, or `unmatched`.

    Call it after the router has chosen a route and written it into the scope.
    Args:
        scope: the scope that the application received.
        entry: the same scope as it was on arrival.
        paths: paths that are returned as they are, for applications without such routes.
    """
    entry = entry or {}
    route = scope.get("route") or _plain_route(scope)
    if route is None:
        path: str = scope.get("path", "").removeprefix(entry.get("root_path", ""))
        return path if path in paths else UNMATCHED
    if not hasattr(route, "routes"):
        path = _path(route, scope)
    elif route.routes:  # a mount, and none of its routes fits the path
        return UNMATCHED
    else:  # a mount of an application without routes, such as static files
        path = ""
    prefix = _mount_prefix(scope, entry)
    if not prefix:
        return path or "/"
    return _with_parameter_names(prefix, path, scope.get("path_params", {})) + path


def _plain_route(scope: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a framework's route
    """Return a route that FastAPI does not write into the scope: `/docs`, and those of `app.add_route`."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    routes = getattr(scope.get("app"), "routes", ())
    return next((route for route in routes if getattr(route, "endpoint", None) is endpoint), None)


def _path(route: Any, scope: Mapping[str, Any]) -> str:  # noqa: ANN401 - a framework's route
    # The route of an included router has its path without the router's prefix; FastAPI keeps the whole one here.
    included = scope.get("fastapi", {}).get("effective_route_context")
    if included is not None and included.original_route is route:
        route = included
    # Starlette's `path` has types, such as `{page:int}`.
    return getattr(route, "path_format", "") or getattr(route, "path", UNMATCHED)


def _mount_prefix(scope: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return what mounts have added to `root_path`.

    A proxy's prefix is also in `root_path`, from the server or from `FastAPI(root_path=...)`, and not in OpenAPI.
    """
    root_path: str = scope.get("root_path", "")
    if "app_root_path" in entry:  # this application is mounted itself
        return root_path.removeprefix(entry.get("root_path", ""))
    return root_path.removeprefix(scope.get("app_root_path", root_path))


def _with_parameter_names(prefix: str, path: str, values: Mapping[str, Any]) -> str:
    """Replace the values of a mount's parameters by their names: `/t/acme` becomes `/t/{tenant}`."""
    for name, value in values.items():
        if f"{{{name}}}" not in path:
            before, found, after = f"{prefix}/".rpartition(f"/{value}/")
            if found:
                prefix = f"{before}/{{{name}}}/{after}".removesuffix("/")
    return prefix
