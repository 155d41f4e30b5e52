"""Probes: is the process alive, can it do its work, and what does it count."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry

from app.observability import metrics_page
from app.problems import ServiceError, problem

logger = logging.getLogger(__name__)

#: Successful probes make neither line nor observation: they would drown what users did.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

Check = Callable[[], Coroutine[None, None, None]]
_PATIENCE = 2.0  # seconds; shorter than the health check that asks


def health_router(registry: CollectorRegistry, checks: Mapping[str, Check]) -> APIRouter:
    """Make the routes of the probes; `checks` raise when what they name does not work."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer as long as the process can."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        """Answer 200 if everything that requests need does its work; name what does not."""
        names = list(checks)
        results = dict(zip(names, await asyncio.gather(*(_result(checks[name]) for name in names)), strict=True))
        wrong = {name: result for name, result in results.items() if result != "ok"}
        if wrong:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {', '.join(wrong)}.", checks=results)
        return Response('{"status":"ready"}', media_type="application/json")

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Show the metrics; with exemplars where OpenMetrics is asked for."""
        page, content_type = metrics_page(request.headers.get("accept", ""), registry)
        return Response(page, headers={"content-type": content_type})

    return router


async def _result(check: Check) -> str:
    try:
        # In a context of its own: what a probe does is not told as a request's.
        await asyncio.wait_for(asyncio.create_task(check(), context=Context()), _PATIENCE)
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} s"
    except ServiceError as exc:
        return str(exc)
    return "ok"
