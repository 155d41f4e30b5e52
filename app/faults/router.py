"""The routes of the fault lab: what is wrong, make something wrong, make it right."""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from app.database import LARGEST_INTEGER
from app.dependencies import RowId
from app.faults.board import FaultBoard
from app.faults.models import ENDLESS_MS, LAB_ROUTE, Fault, Kind
from app.problems import ForbiddenError, InvalidError

LONGEST = 600  # seconds; every fault ends by itself


class NewFault(BaseModel):
    """A fault to start: what, to whom, how badly, for how long."""

    model_config = ConfigDict(extra="forbid")

    fault: Kind
    route: Annotated[str | None, Field(description="A template, such as `/users/{user_id}`; all routes if none.")] = (
        None
    )
    users: Annotated[list[RowId] | None, Field(min_length=1, max_length=200, description="All users if none.")] = None
    share: Annotated[float, Field(gt=0, le=1, description="Of the requests, by a hash of seed and request id.")] = 1
    delay_ms: Annotated[int, Field(ge=10, le=10_000, description="Of `slow-query` only.")] = 2_000
    seconds: Annotated[int, Field(ge=1, le=LONGEST, description="After which it ends by itself.")] = 60
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = 0


class FaultOut(NewFault):
    """A fault that is active."""

    id: int
    delay_ms: int
    started_at: datetime
    until: datetime


def faults_router(board: FaultBoard) -> APIRouter:
    """Make the routes on `board`."""
    router = APIRouter(prefix=LAB_ROUTE, tags=["faults"], dependencies=[Depends(_only_on_purpose)])

    @router.get("")
    async def list_faults() -> list[FaultOut]:
        """List the active faults."""
        await board.refresh()
        return [_shown(fault) for fault in board.active]

    @router.post("", status_code=201)
    async def start_fault(new: NewFault, request: Request) -> FaultOut:
        """Start a fault."""
        _check(new, request.app.openapi()["paths"])
        facts = new.model_dump(exclude={"seconds"})
        if new.fault == "database-timeout":
            facts["delay_ms"] = ENDLESS_MS
        now = time.time()
        fault = Fault(**facts, started_at=now, until=now + new.seconds)
        await board.start(fault)
        return _shown(fault)

    @router.delete("", status_code=204)
    async def stop_faults() -> None:
        """End all faults now."""
        await board.stop()

    return router


def _check(new: NewFault, routes: Collection[str]) -> None:
    """Raise `InvalidError` for what is well formed, and would not do what somebody expects."""
    if new.route is not None and (new.route not in routes or new.route == LAB_ROUTE):
        msg = "No such route can suffer; take a template from /openapi.json, such as /users/{user_id}."
        raise InvalidError(msg)
    if new.fault == "database-timeout" and "delay_ms" in new.model_fields_set:
        msg = "A database-timeout takes no delay_ms: DATABASE_TIMEOUT says when its statement is cut."
        raise InvalidError(msg)


def _only_on_purpose(x_fault_lab: Annotated[str | None, Header()] = None) -> None:
    # A page in the browser cannot send a header of its own to another site without asking, and nobody answers here.
    if x_fault_lab is None:
        msg = "Send the header X-Fault-Lab, with any value: faults are started on purpose only."
        raise ForbiddenError(msg)


def _shown(fault: Fault) -> FaultOut:
    return FaultOut(
        id=fault.id,
        fault=fault.fault,  # type: ignore[arg-type]  # only what NewFault allows is ever stored
        route=fault.route,
        users=fault.users,
        share=fault.share,
        delay_ms=fault.delay_ms,
        seconds=round(fault.until - fault.started_at),
        seed=fault.seed,
        started_at=datetime.fromtimestamp(fault.started_at, UTC),
        until=datetime.fromtimestamp(fault.until, UTC),
    )
