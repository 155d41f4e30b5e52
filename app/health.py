"""The probes /healthz and /readyz, and /metrics."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse

from app.errors import ServiceError, problem
from app.observability import metrics_page

#: Their successful requests are neither logged nor observed: there would be more of them than of users' requests.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

#: Raises `ServiceError` if a dependency does not work.
Check = Callable[[], Coroutine[None, None, None]]

_CHECK_TIMEOUT = 2.0  # seconds; shorter than the time-out of the health checks in docker-compose.yml


def health_router(registry: CollectorRegistry, checks: Mapping[str, Check]) -> APIRouter:
    """Return the routes; the service is ready if all `checks` pass."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Return 200 while the process runs."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        """Return 200 if all dependencies work, else 503 with the names of those that do not."""
        results = dict(zip(checks, await asyncio.gather(*map(_run, checks.values())), strict=True))
        failed = [name for name, result in results.items() if result != "ok"]
        if failed:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {', '.join(failed)}.", checks=results)
        return Response('{"status":"ready"}', media_type="application/json")

    openmetrics = {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}

    @router.get("/metrics", response_class=PlainTextResponse, responses={200: openmetrics})
    async def metrics(request: Request) -> Response:
        """Return the metrics; in OpenMetrics format they have exemplars."""
        page, content_type = metrics_page(request.headers.get("accept", ""), registry)
        return Response(page, headers={"content-type": content_type})

    return router


async def _run(check: Check) -> str:
    try:
        # In an empty context, so that log lines and timings of the check are not those of the probe's request.
        await asyncio.wait_for(asyncio.create_task(check(), context=Context()), _CHECK_TIMEOUT)
    except TimeoutError:
        return f"no answer within {_CHECK_TIMEOUT:g} s"
    except ServiceError as exc:
        return str(exc)
    return "ok"
