"""The application that every variant instruments, and the request that the benchmarks send."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Response
from prometheus_client import CollectorRegistry

from app.observability import annotate, metrics_page, timer

#: The route template in the metrics, with the prefix of the included router.
ROUTE = "/users/{user_id}"
PATH = "/users/17"
#: Raises an exception that only the outermost layer of the framework handles.
BROKEN = "/broken"
METRICS = "/metrics"

REQUEST_ID = "0f8fad5bd9cb469fa16570867728950e"  # the only format that all variants accept
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def headers(request_id: str = REQUEST_ID, trace_id: str = TRACE_ID) -> dict[str, str]:
    """Return the request headers that a proxy would send, without `Host`."""
    return {
        "user-agent": "bench/1.0",
        "accept": "application/json",
        "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        "x-request-id": request_id,
    }


def api(*, timers: bool = False) -> FastAPI:
    """Create the application; with `timers`, its endpoint times two blocks and adds a field to the log line."""
    users = APIRouter()
    users.get("/{user_id}")(_get_user_timed if timers else _get_user)
    application = FastAPI()
    application.include_router(users, prefix="/users")
    application.get(BROKEN)(_raise_error)
    return application


def add_metrics_endpoint(api: FastAPI, registry: CollectorRegistry) -> None:
    """Add a `METRICS` endpoint that exposes `registry`, including exemplars."""

    @api.get(METRICS)
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        page, content_type = metrics_page(accept, registry)
        return Response(page, headers={"content-type": content_type})


async def _get_user(user_id: int) -> Mapping[str, object]:
    return {"id": user_id, "name": "Ada", "email": "ada@example.com"}


async def _get_user_timed(user_id: int) -> Mapping[str, object]:
    annotate(user_id=user_id)
    with timer("db"):
        user: Mapping[str, object] = {"id": user_id, "name": "Ada", "email": "ada@example.com"}
    with timer("db"):
        return user


async def _raise_error() -> None:
    msg = "broken"
    raise ValueError(msg)
