"""The routes that list, start and end faults."""

import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Request
from pydantic import Field

from app.database import MAX_INTEGER
from app.dependencies import NUMBER, JsonId
from app.errors import ForbiddenError, NotFoundError
from app.faults.models import FAULTS_ROUTE, TIMEOUT_DELAY_MS, Fault, Kind
from app.faults.registry import FaultRegistry
from app.limits import RequestBody

_MAX_SECONDS = 600


class FaultFields(RequestBody):
    """What faults of all kinds have in common."""

    route: Annotated[
        str | None, Field(description="Route template, such as `/users/{user_id}`. Default: all routes.")
    ] = None
    users: Annotated[
        list[JsonId] | None, Field(min_length=1, max_length=200, description="User ids. Default: all users.")
    ] = None
    share: Annotated[
        float,
        Field(gt=0, le=1, description="Share of the requests, chosen by a hash of `seed` and request id."),
        NUMBER,
    ] = 1
    seconds: Annotated[int, Field(ge=1, le=_MAX_SECONDS, description="Duration of the fault."), NUMBER] = 60
    seed: Annotated[int, Field(ge=0, le=MAX_INTEGER), NUMBER] = 0


class SlowQuery(FaultFields):
    """Statements that take `delay_ms` longer."""

    fault: Literal["slow-query"]
    delay_ms: Annotated[int, Field(ge=10, le=10_000), NUMBER] = 2_000


class DatabaseTimeout(FaultFields):
    """Statements that are cancelled after DATABASE_TIMEOUT."""

    fault: Literal["database-timeout"]


NewFault = Annotated[SlowQuery | DatabaseTimeout, Field(discriminator="fault")]


class FaultOut(FaultFields):
    """An active fault."""

    id: int
    fault: Kind
    delay_ms: int
    started_at: datetime
    until: datetime


def faults_router(faults: FaultRegistry) -> APIRouter:
    """Return the routes for `faults`."""
    router = APIRouter(prefix=FAULTS_ROUTE, tags=["faults"], dependencies=[Depends(_require_header)])

    @router.get("")
    async def list_faults() -> list[FaultOut]:
        """List the active faults."""
        await faults.refresh()
        return [_fault_out(fault) for fault in faults.active]

    @router.post("", status_code=201)
    async def start_fault(new: NewFault, request: Request) -> FaultOut:
        """Start a fault."""
        if new.route is not None and (new.route not in request.app.openapi()["paths"] or new.route == FAULTS_ROUTE):
            msg = "Unknown route. Use a template from /openapi.json, such as /users/{user_id}."
            raise NotFoundError(msg)
        columns = {"delay_ms": TIMEOUT_DELAY_MS, **new.model_dump(exclude={"seconds"})}
        now = time.time()
        fault = Fault(**columns, started_at=now, until=now + new.seconds)
        await faults.start(fault)
        return _fault_out(fault)

    @router.delete("", status_code=204)
    async def stop_faults() -> None:
        """End all faults."""
        await faults.stop_all()

    return router


def _require_header(x_fault_lab: Annotated[str | None, Header()] = None) -> None:
    # For a request with such a header to another site, a browser first asks that site for permission (CORS preflight),
    # and this service never gives it.
    if x_fault_lab is None:
        msg = "Send the header X-Fault-Lab with any value."
        raise ForbiddenError(msg)


def _fault_out(fault: Fault) -> FaultOut:
    return FaultOut(
        id=fault.id,
        fault=fault.fault,  # type: ignore[arg-type]  # the column has only values of `Kind`
        route=fault.route,
        users=fault.users,
        share=fault.share,
        delay_ms=fault.delay_ms,
        seconds=round(fault.until - fault.started_at),
        seed=fault.seed,
        started_at=datetime.fromtimestamp(fault.started_at, UTC),
        until=datetime.fromtimestamp(fault.until, UTC),
    )
