"""DATABASE_TIMEOUT, and the fault that makes it matter: cut, told as what it was, and forgotten by the next request."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.app.lab import LAB, start_fault
from tests.emitted import Line
from tests.services import Service

pytestmark = pytest.mark.usefixtures("no_faults_left")

ORDER = {"user_id": 7, "sku": "mug", "quantity": 2}
LIMIT_MS = 1500  # DATABASE_TIMEOUT of the fixture `api`


def failed(api: Service, response: httpx2.Response) -> Line:
    trace_id = response.headers["x-trace-id"]
    api.finished(trace_id)
    (line,) = [line for line in api.lines(trace_id) if line.get("event") == "request.failed"]
    return line


def fast(api: Service, path: str) -> bool:
    response = api.client.get(path)
    assert 200 == response.status_code
    return bool(api.finished(response.headers["x-trace-id"])["duration_ms"] < 500)


def test_an_order_of_an_unlucky_user(api: Service) -> None:
    """It fails while its user is fetched; one line says so and what was ordered, another where the time went."""
    start_fault(api, fault="database-timeout", users=[7])
    response = api.client.post("/orders", json=ORDER)
    told, finished = failed(api, response), api.finished(response.headers["x-trace-id"])

    assert (503, "Database timeout while fetching user") == (response.status_code, response.json()["detail"])
    assert "Database timeout while fetching user" == told["error_message"]
    assert ("app.database.errors.DatabaseTimeoutError", ORDER) == (told["error_type"], told["payload"])
    assert (503, "server_error", "database-timeout", 7) == (
        finished["status"], finished["outcome"], finished["fault_active"], finished["user_id"],
    )  # fmt: skip
    assert LIMIT_MS <= finished["db_ms"] < 3 * LIMIT_MS
    assert 1 == finished["db_calls"]
    (slow,) = [line for line in api.lines(told["trace_id"]) if line["message"] == "Slow statement"]
    assert "FROM users" in slow["statement"]


@pytest.mark.parametrize(
    ("method", "path", "route", "doing"),
    [
        ("GET", "/users/7", "/users/{user_id}", "fetching user"),
        ("GET", "/users", "/users", "listing users"),
        ("POST", "/users", "/users", "storing user"),
        ("GET", "/orders/1", "/orders/{order_id}", "fetching order"),
        ("GET", "/orders?user_id=7", "/orders", "listing orders"),
    ],
)
def test_what_was_being_done_is_said(api: Service, method: str, path: str, route: str, doing: str) -> None:
    """To the client and in the line, in the same words."""
    start_fault(api, fault="database-timeout", route=route)
    body = {"email": f"{uuid4().hex}@example.com", "name": "User"} if method == "POST" else None
    response = api.client.request(method, path, json=body)

    assert (503, f"Database timeout while {doing}") == (response.status_code, response.json()["detail"])
    assert response.json()["detail"] == failed(api, response)["error_message"]


def test_many_of_them_leave_nothing_behind(api: Service) -> None:
    """More at once than there are connections: all are cut, and then everybody else is as fast as before."""
    start_fault(api, fault="database-timeout", users=[7])
    with ThreadPoolExecutor(15) as clients:
        cut = list(clients.map(lambda _: api.client.get("/users/7"), range(15)))

    assert {"Database timeout while fetching user"} == {response.json()["detail"] for response in cut}
    assert all(fast(api, path) for path in ["/users/8", "/users", "/orders?user_id=8"] * 5)
    assert 201 == api.client.post("/orders", json={**ORDER, "user_id": 8}).status_code
    used = {sample.labels["state"]: sample.value for sample in api.samples() if sample.name == "db_pool_connections"}
    assert 0 == used["used"]


@pytest.mark.parametrize(
    ("faults", "status", "suffered", "seconds"),
    [
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 300}, {"fault": "slow-query", "delay_ms": 800}],
            200, "slow-query", 0.8, id="the slower of two",
        ),
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 300}, {"fault": "database-timeout"}],
            503, "database-timeout", 1.5, id="the time-out of two",
        ),
        pytest.param(
            [{"fault": "database-timeout"}, {"fault": "slow-query", "delay_ms": 300}],
            503, "database-timeout", 1.5, id="the other way round",
        ),
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 5_000}],
            503, "slow-query", 1.5, id="slower than allowed",
        ),
    ],
)  # fmt: skip
def test_the_worst_counts(
    api: Service, faults: list[dict[str, Any]], status: int, suffered: str, seconds: float
) -> None:
    """A request suffers from the slowest of its faults, once, and its line names that one."""
    for fault in faults:
        start_fault(api, users=[7], **fault)
    response = api.client.get("/users/7")
    line = api.finished(response.headers["x-trace-id"])

    assert (status, suffered) == (response.status_code, line["fault_active"])
    assert seconds <= line["db_ms"] / 1000 < seconds + 0.7


def test_it_has_no_delay(api: Service) -> None:
    """A `delay_ms` that would mean nothing is refused, and why."""
    fault = {"fault": "database-timeout", "delay_ms": 2_000}
    response = api.client.post("/faults", json=fault, headers=LAB)

    assert 422 == response.status_code
    assert "DATABASE_TIMEOUT" in response.json()["detail"]


def test_the_lab_itself_does_not_suffer(api: Service) -> None:
    """A fault of everybody and everything can be seen and ended."""
    fault = start_fault(api, fault="database-timeout")
    listed = api.client.get("/faults", headers=LAB)
    active = {sample.labels["fault"]: sample.value for sample in api.samples() if sample.name == "fault_active"}
    ended = api.client.delete("/faults", headers=LAB)

    assert [fault["id"]] == [found["id"] for found in listed.json()]
    assert {"slow-query": 0, "database-timeout": 1} == active
    assert 204 == ended.status_code
    assert fast(api, "/users/7")
