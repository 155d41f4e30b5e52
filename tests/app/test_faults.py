"""Fault injection: which requests it affects, its log lines, and its limits."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.database import Database
from app.faults.models import Fault
from app.faults.registry import FaultRegistry
from app.main import create_app
from app.observability.testing import capture_logs
from app.settings import Settings
from app.users.seed import seed_users
from tests.app.faults import FAULT_HEADERS, start_fault
from tests.processes import Processes
from tests.services import Service, running
from tests.waiting import wait_for

# Tests that start a fault in the shared service end it afterwards.
ends_faults = pytest.mark.usefixtures("end_faults")


def db_seconds(service: Service, path: str) -> float:
    """Send a request, and return the time that it spent in the database."""
    response = service.client.get(path)
    assert 200 == response.status_code
    return float(service.finished(response.headers["x-trace-id"])["db_ms"]) / 1000


def affected(service: Service, path: str) -> bool:
    response = service.client.get(path)
    return "fault_active" in service.finished(response.headers["x-trace-id"])


def active(service: Service) -> dict[str, float]:
    return {s.labels["fault"]: s.value for s in service.samples() if s.name == "fault_active"}


@ends_faults
def test_the_statements_of_targeted_users_are_slow(api: Service) -> None:
    """The lines show where the request of user 7 is slow; the request of user 8 is not affected."""
    start_fault(api, users=[7], delay_ms=600)
    response = api.client.get("/users/7")
    trace_id = response.headers["x-trace-id"]
    finished = api.finished(trace_id)
    (slow,) = [line for line in api.lines(trace_id) if line["message"] == "Slow statement"]

    assert finished["db_ms"] >= 600
    assert "slow-query" == finished["fault_active"]
    assert ("warning", "app.database") == (slow["level"], slow["logger"])
    assert not affected(api, "/users/8")


@ends_faults
def test_a_user_is_found_in_path_query_and_body(api: Service) -> None:
    """A request of several statements is slowed down once."""
    start_fault(api, users=[7], delay_ms=600)
    order = api.client.post("/orders", json={"user_id": 7, "sku": "mug"})
    slow = [line for line in api.lines(order.headers["x-trace-id"]) if line.get("statement_ms", 0) >= 600]

    assert 1 == len(slow)
    assert affected(api, "/users/7")
    assert affected(api, "/orders?user_id=7")


@ends_faults
def test_a_fault_for_one_route(api: Service) -> None:
    """Other routes are not affected."""
    start_fault(api, route="/users/{user_id}", delay_ms=600)

    assert not affected(api, "/users")
    assert db_seconds(api, "/users/7") >= 0.6


def test_a_share_affects_the_same_requests_each_time() -> None:
    """They depend on the seed and the request id, not on their order."""

    def matches(seed: int) -> list[bool]:
        fault = Fault(route=None, users=None, share=0.5, seed=seed, started_at=time.time(), until=time.time() + 60)
        return [fault.matches("/", None, f"run-0-{number}") for number in range(1000)]

    assert matches(seed=1) == matches(seed=1) != matches(seed=2)
    assert 400 < sum(matches(seed=1)) < 600


@ends_faults
def test_start_and_end_are_logged(api: Service) -> None:
    """The end is logged without another request; both lines have the fields of the fault."""
    fault = start_fault(api, users=[7], seconds=1)
    started = api.event("fault.started", fault_id=fault["id"])
    ended = api.event("fault.ended", fault_id=fault["id"])

    assert ("slow-query", [7]) == (started["fault"], started["fault_users"])
    assert started["fault_until"] == ended["fault_until"]
    assert [] == api.client.get("/faults", headers=FAULT_HEADERS).json()
    assert not affected(api, "/users/7")


@ends_faults
def test_all_replicas_have_the_same_faults(
    api: Service, database_url: str, payments: Service, processes: Processes
) -> None:
    """They read them from the database, and only one replica logs the end."""
    settings = {"DATABASE_URL": database_url, "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, f"replica-{database_url.split(':', maxsplit=1)[0]}") as replica:
        fault = start_fault(api, users=[7], delay_ms=10)
        wait_for(lambda: affected(replica, "/users/7"), "the fault in the replica")
        api.client.delete("/faults", headers=FAULT_HEADERS)
        wait_for(lambda: not affected(replica, "/users/7"), "its end in the replica")
        wait_for(lambda: 0 == active(api)["slow-query"] == active(replica)["slow-query"], "its end in both")

        lines = [*api.lines(), *replica.lines()]
    assert 1 == sum(line.get("event") == "fault.ended" and line["fault_id"] == fault["id"] for line in lines)


@pytest.mark.anyio
async def test_faults_are_read_again_after_an_error(tmp_path: Path) -> None:
    """Otherwise a replica would keep its faults forever. The error is logged once."""
    database = Database(Settings(database_url=f"sqlite:///{tmp_path}/tested.db").async_database_url, 1, 60)
    faults = FaultRegistry(database, interval=0.01)
    with capture_logs() as logs:
        watching = asyncio.create_task(faults.watch())  # there is no table yet
        await asyncio.to_thread(wait_for, lambda: logs.lines(message="Faults cannot be read"), "the error")
        await asyncio.sleep(0.5)
        await database.prepare(seed_users)
        async with database.session() as session:
            now = time.time()
            session.add(Fault(fault="slow-query", share=1, delay_ms=10, seed=0, started_at=now, until=now + 60))
            await session.commit()
        await asyncio.to_thread(wait_for, lambda: faults.active, "the fault")
        watching.cancel()
        await asyncio.wait([watching])
        await database.engine.dispose()

    assert 1 == len(logs.lines(message="Faults cannot be read"))


@ends_faults
def test_active_faults_are_listed_and_can_be_ended(api: Service) -> None:
    """The list and the metric show the same."""
    fault = start_fault(api, users=[7])
    assert [fault["id"]] == [found["id"] for found in api.client.get("/faults", headers=FAULT_HEADERS).json()]
    assert {"slow-query": 1, "database-timeout": 0} == active(api)

    assert 204 == api.client.delete("/faults", headers=FAULT_HEADERS).status_code
    assert [] == api.client.get("/faults", headers=FAULT_HEADERS).json()
    assert {"slow-query": 0, "database-timeout": 0} == active(api)


@pytest.mark.parametrize(
    "invalid",
    [
        pytest.param({"seconds": 601}, id="too long"),
        pytest.param({"share": 0}, id="no requests"),
        pytest.param({"users": []}, id="no users"),
        pytest.param({"users": [10**30]}, id="user id that is too large for the column"),
        pytest.param({"seed": 2**63}, id="seed that is too large for the column"),
        pytest.param({"seed": True}, id="boolean instead of a number"),
        pytest.param({"fault": "meteor"}, id="unknown fault"),
        pytest.param({"fault": "database-timeout", "delay_ms": 2_000}, id="time-out with a delay"),
    ],
)
@ends_faults
def test_invalid_faults_are_rejected(api: Service, invalid: dict[str, Any]) -> None:
    """Faults are limited, and have to match requests."""
    response = api.client.post("/faults", json={"fault": "slow-query", **invalid}, headers=FAULT_HEADERS)

    assert 422 == response.status_code
    assert {"slow-query": 0, "database-timeout": 0} == active(api)


@pytest.mark.parametrize("route", ["/nothing", "/faults"])
def test_a_fault_needs_a_route_that_it_can_affect(api: Service, route: str) -> None:
    """The routes of the faults are never affected."""
    fault = {"fault": "slow-query", "route": route}

    assert 404 == api.client.post("/faults", json=fault, headers=FAULT_HEADERS).status_code


@ends_faults
def test_a_web_page_of_another_site_cannot_start_a_fault(api: Service) -> None:
    """Browsers send the header X-Fault-Lab to another site only if a preflight request allows it."""
    without_header = api.client.post("/faults", json={"fault": "slow-query"})
    preflight = api.client.options(
        "/faults",
        headers={
            "Origin": "http://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-fault-lab",
        },
    )

    assert (403, 405) == (without_header.status_code, preflight.status_code)
    assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.anyio
async def test_faults_are_off_by_default(tmp_path: Path) -> None:
    """Without FAULTS=on, the routes do not exist."""
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/tested.db"))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
        responses = [await client.request(method, "/faults", headers=FAULT_HEADERS) for method in ("GET", "POST")]
        schema = (await client.get("/openapi.json")).json()

    assert [404, 404] == [response.status_code for response in responses]
    assert "/faults" not in schema["paths"]
