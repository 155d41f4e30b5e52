"""DATABASE_TIMEOUT and the fault `database-timeout`, in responses and log lines."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.app.faults import FAULT_HEADERS, start_fault
from tests.emitted import Line
from tests.services import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("end_faults")

ORDER = {"user_id": 7, "sku": "mug", "quantity": 2}
TIMEOUT_MS = 1500  # DATABASE_TIMEOUT of the fixture `api`


def failure(api: Service, response: httpx2.Response) -> Line:
    trace_id = response.headers["x-trace-id"]
    api.finished(trace_id)
    (line,) = [line for line in api.lines(trace_id) if line.get("event") == "request.failed"]
    return line


def used_connections(api: Service) -> float:
    (used,) = [sample.value for sample in api.samples() if sample.labels.get("state") == "used"]
    return used


def test_the_response_and_the_lines_of_a_timeout(api: Service) -> None:
    """They have the operation, the payload, the user, the time and the statement."""
    start_fault(api, fault="database-timeout", users=[7])
    response = api.client.post("/orders", json=ORDER)
    failed, finished = failure(api, response), api.finished(response.headers["x-trace-id"])

    assert (503, "Database timeout while fetching user") == (response.status_code, response.json()["detail"])
    assert "Database timeout while fetching user" == failed["error_message"]
    assert ("app.database.DatabaseTimeoutError", ORDER) == (failed["error_type"], failed["payload"])
    assert (503, "server_error", "database-timeout", 7) == (
        finished["status"], finished["outcome"], finished["fault_active"], finished["user_id"],
    )  # fmt: skip
    assert TIMEOUT_MS <= finished["db_ms"] < 30_000  # the fault itself would take 60 s
    assert 1 == finished["db_calls"]
    (slow,) = [line for line in api.lines(failed["trace_id"]) if line["message"] == "Slow statement"]
    assert "FROM users" in slow["statement"]


@pytest.mark.parametrize(
    ("method", "path", "route", "operation"),
    [
        ("GET", "/users/7", "/users/{user_id}", "fetching user"),
        ("GET", "/users", "/users", "listing users"),
        ("POST", "/users", "/users", "storing user"),
        ("GET", "/orders/1", "/orders/{order_id}", "fetching order"),
        ("GET", "/orders?user_id=7", "/orders", "listing orders"),
    ],
)
def test_the_message_names_the_operation(api: Service, method: str, path: str, route: str, operation: str) -> None:
    """The response and the log line have the same message."""
    start_fault(api, fault="database-timeout", route=route)
    body = {"email": f"{uuid4().hex}@example.com", "name": "User"} if method == "POST" else None
    response = api.client.request(method, path, json=body)

    assert (503, f"Database timeout while {operation}") == (response.status_code, response.json()["detail"])
    assert response.json()["detail"] == failure(api, response)["error_message"]


def test_requests_after_many_timeouts_are_not_affected(api: Service) -> None:
    """15 requests time out at once; afterwards, all of the 10 connections are free and can be used."""
    start_fault(api, fault="database-timeout", users=[7])
    with ThreadPoolExecutor(15) as clients:
        timed_out = list(clients.map(lambda _: api.client.get("/users/7"), range(15)))

    assert {"Database timeout while fetching user"} == {response.json()["detail"] for response in timed_out}
    assert {200} == {api.client.get(path).status_code for path in ["/users/8", "/users", "/orders?user_id=8"] * 5}
    assert 201 == api.client.post("/orders", json={**ORDER, "user_id": 8}).status_code
    wait_for(lambda: 0 == used_connections(api), "all connections to be free")


@pytest.mark.parametrize(
    ("faults", "status", "fault", "seconds"),
    [
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 200}, {"fault": "slow-query", "delay_ms": 500}],
            200, "slow-query", 0.5, id="two slow queries",
        ),
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 300}, {"fault": "database-timeout"}],
            503, "database-timeout", 1.5, id="the time-out is the second",
        ),
        pytest.param(
            [{"fault": "database-timeout"}, {"fault": "slow-query", "delay_ms": 300}],
            503, "database-timeout", 1.5, id="the time-out is the first",
        ),
        pytest.param(
            [{"fault": "slow-query", "delay_ms": 10_000}],
            503, "slow-query", 1.5, id="slower than the time-out",
        ),
    ],
)  # fmt: skip
def test_the_slowest_fault_is_used(
    api: Service, faults: list[dict[str, Any]], status: int, fault: str, seconds: float
) -> None:
    """If several faults match a request, the slowest one is used, once, and is in the line."""
    for each in faults:
        start_fault(api, users=[7], **each)
    response = api.client.get("/users/7")
    line = api.finished(response.headers["x-trace-id"])

    assert (status, fault) == (response.status_code, line["fault_active"])
    assert line["db_ms"] / 1000 > 0.99 * seconds  # SQLite and this process use different clocks
    assert 1 == line["db_calls"]


def test_faults_do_not_affect_their_own_route(api: Service) -> None:
    """A fault for all users and routes can be listed and ended."""
    fault = start_fault(api, fault="database-timeout")
    listed = api.client.get("/faults", headers=FAULT_HEADERS)
    ended = api.client.delete("/faults", headers=FAULT_HEADERS)

    assert [fault["id"]] == [found["id"] for found in listed.json()]
    assert 204 == ended.status_code
    assert 200 == api.client.get("/users/7").status_code
