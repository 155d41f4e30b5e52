"""The routes of users and orders, and their log lines."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from app.errors import UnavailableError
from app.orders.payments import PaymentsClient
from tests.processes import Processes
from tests.services import Service, running

ORDER = {"user_id": 17, "sku": "mug", "quantity": 2}


def test_there_are_200_users(api: Service) -> None:
    """A service that is ready has created them, with ids from 1."""
    page = api.client.get("/users", params={"limit": 100, "offset": 100}).json()

    assert list(range(101, 201)) == [user["id"] for user in page["items"]]
    assert page["total"] >= 200
    assert (100, 100) == (page["limit"], page["offset"])


def test_a_user_is_created_once(api: Service) -> None:
    """The response has its location, and a second user with the same email is refused."""
    new = {"email": f" {uuid4().hex}@Example.com", "name": "User"}
    created = api.client.post("/users", json=new)
    again = api.client.post("/users", json=new)
    found = api.client.get(created.headers["location"])

    assert (201, 409, 200) == (created.status_code, again.status_code, found.status_code)
    assert created.json() == found.json()
    assert new["email"].strip().lower() == found.json()["email"]
    assert found.json()["created_at"].endswith("Z")


def test_problems_are_rfc_9457_with_the_trace_id(api: Service) -> None:
    """All error responses have the same form; they contain the trace id and no internals."""
    responses = {
        404: api.client.get("/users/100000"),
        405: api.client.put("/users/1"),
        409: api.client.post("/users", json={"email": "user1@example.com", "name": "User"}),
        422: api.client.post("/users", json={"email": "hunter2", "name": ""}),
    }

    for status, response in responses.items():
        problem = response.json()
        assert "application/problem+json" == response.headers["content-type"]
        assert (status, status, response.headers["x-trace-id"]) == (
            response.status_code, problem["status"], problem["trace_id"],
        )  # fmt: skip
        assert {"type", "title"} <= problem.keys()
        assert "hunter2" not in response.text
    assert "GET" == responses[405].headers["allow"]
    assert ["body", "email"] == responses[422].json()["errors"][0]["loc"]


def test_the_size_of_a_page(api: Service) -> None:
    """A page has 20 users by default and 100 at most."""
    assert 20 == len(api.client.get("/users").json()["items"])
    assert 422 == api.client.get("/users", params={"limit": 101}).status_code
    assert [] == api.client.get("/users", params={"offset": 1_000_000}).json()["items"]


def test_an_order_is_placed_paid_and_listed(api: Service) -> None:
    """The order is at its location, and first in the list of the user's orders."""
    placed = api.client.post("/orders", json=ORDER)
    found = api.client.get(placed.headers["location"])
    listed = api.client.get("/orders", params={"user_id": 17}).json()

    assert (201, 2400, "paid") == (placed.status_code, placed.json()["amount_cents"], placed.json()["status"])
    assert placed.json() == found.json() == listed["items"][0]
    assert {17} == {order["user_id"] for order in listed["items"]}


@pytest.mark.parametrize(
    ("order", "status"),
    [
        pytest.param({**ORDER, "user_id": 100_000}, 404, id="unknown user"),
        pytest.param({**ORDER, "sku": "moon"}, 404, id="unknown sku"),
        pytest.param({**ORDER, "quantity": 0}, 422, id="quantity 0"),
        pytest.param({**ORDER, "price": 1}, 422, id="unknown field"),
        pytest.param({**ORDER, "sku": "shirt", "quantity": 100}, 402, id="declined"),
    ],
)
def test_invalid_orders_are_refused(api: Service, order: dict[str, object], status: int) -> None:
    """The status depends on the error, and the response contains the trace id."""
    response = api.client.post("/orders", json=order)

    assert (status, response.headers["x-trace-id"]) == (response.status_code, response.json()["trace_id"])


def test_a_declined_order_is_stored(api: Service) -> None:
    """With the status `declined`."""
    api.client.post("/orders", json={"user_id": 18, "sku": "shirt", "quantity": 100})

    assert "declined" == api.client.get("/orders", params={"user_id": 18}).json()["items"][0]["status"]


def test_the_lines_of_all_layers_and_both_services_have_the_trace_id(api: Service, payments: Service) -> None:
    """Router, service, repository, database, background task and payments have the same one."""
    trace_id = api.client.post("/orders", json=ORDER).headers["x-trace-id"]
    finished, charged = api.finished(trace_id), payments.finished(trace_id)

    loggers = {line["logger"] for line in api.lines(trace_id)}
    assert {
        "app.orders.router", "app.orders.service", "app.orders.repository", "app.users.service",
        "app.users.repository", "app.database", "app.orders.payments", "observability.access",
    } <= loggers  # fmt: skip
    assert "Receipt sent" in {line["message"] for line in api.lines(trace_id)}
    assert {"app.payments.router", "observability.access"} == {line["logger"] for line in payments.lines(trace_id)}
    assert finished["span_id"] != charged["span_id"]


def test_the_line_of_a_request_has_the_parts_of_its_duration(api: Service) -> None:
    """The time of three statements, of one call to payments, and of waiting for connections."""
    trace_id = api.client.post("/orders", json=ORDER).headers["x-trace-id"]
    line = api.finished(trace_id)

    assert (3, 1, 17) == (line["db_calls"], line["upstream_calls"], line["user_id"])
    assert line["db_ms"] + line["upstream_ms"] + line["pool_wait_ms"] <= line["duration_ms"]


@pytest.fixture(scope="module")
def api_without_payments(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service whose payments service has stopped."""
    database = tmp_path_factory.mktemp("without-payments") / "tested.db"
    with running(processes, "payments", {}, "payments-stopped") as payments:
        settings = {"DATABASE_URL": f"sqlite:///{database}", "PAYMENTS_URL": payments.url}
        with running(processes, "api", settings, "api-without-payments") as service:
            processes.kill("payments-stopped")
            processes.start("payments-stopped", ["sleep", "600"])
            yield service


def test_an_unavailable_payments_service_is_a_503(api_without_payments: Service) -> None:
    """The call is retried once; retry and failure are logged; the order is stored as unpaid."""
    response = api_without_payments.client.post("/orders", json=ORDER)
    trace_id = response.headers["x-trace-id"]
    finished = api_without_payments.finished(trace_id)
    lines = api_without_payments.lines(trace_id)

    assert (503, "Payments does not answer.") == (response.status_code, response.json()["detail"])
    assert 2 == finished["upstream_calls"]
    assert 1 == sum(line["message"] == "Payments call failed, retrying" for line in lines)
    (failed,) = [line for line in lines if line.get("event") == "request.failed"]
    assert ("app.errors.UnavailableError", ORDER) == (failed["error_type"], failed["payload"])
    assert "unpaid" == api_without_payments.client.get("/orders", params={"user_id": 17}).json()["items"][0]["status"]


@pytest.mark.anyio
async def test_the_timeout_is_for_the_whole_response() -> None:
    """A server that sends one byte at a time cannot extend it; there is one retry."""
    attempts: list[asyncio.Task[None] | None] = []

    async def send_slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(asyncio.current_task())
        response = itertools.chain(b"HTTP/1.1 201 Created\r\nX: ", itertools.repeat(ord("x")))
        with suppress(OSError):
            while True:
                writer.write(bytes([next(response)]))
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    async with await asyncio.start_server(send_slowly, "127.0.0.1", 0) as server:
        client = PaymentsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(client.charge(1, 100), 60)
        await client.close()
        await asyncio.wait([task for task in attempts if task])
    assert 2 == len(attempts)


def test_readiness_names_the_failed_check(api_without_payments: Service) -> None:
    """The process is alive but not ready. The failed probe is logged."""
    alive, ready = api_without_payments.client.get("/healthz"), api_without_payments.client.get("/readyz")

    assert (200, 503) == (alive.status_code, ready.status_code)
    assert "Payments does not answer." == ready.json()["checks"]["payments"]
    assert "/readyz" == api_without_payments.finished(ready.headers["x-trace-id"])["route"]
