"""Orders, which are paid by another service; and the id, which no signature carries."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.orders.payments import PaymentsClient
from app.problems import UnavailableError
from tests.processes import Processes
from tests.services import Service, running

ORDER = {"user_id": 17, "sku": "mug", "quantity": 2}


def test_an_order_is_placed_paid_and_listed(api: Service) -> None:
    """Price, status, location; the list of a user has the latest first."""
    placed = api.client.post("/orders", json=ORDER)
    found = api.client.get(placed.headers["location"])
    listed = api.client.get("/orders", params={"user_id": 17}).json()

    assert (201, 2400, "paid") == (placed.status_code, placed.json()["amount_cents"], placed.json()["status"])
    assert placed.json() == found.json() == listed["items"][0]
    assert {17} == {order["user_id"] for order in listed["items"]}


@pytest.mark.parametrize(
    ("order", "status"),
    [
        pytest.param({**ORDER, "user_id": 100_000}, 404, id="no such user"),
        pytest.param({**ORDER, "sku": "moon"}, 404, id="no such thing"),
        pytest.param({**ORDER, "quantity": 0}, 422, id="none of it"),
        pytest.param({**ORDER, "price": 1}, 422, id="a price of one's own"),
        pytest.param({**ORDER, "sku": "shirt", "quantity": 100}, 402, id="declined"),
    ],
)
def test_what_is_wrong_with_an_order_is_said(api: Service, order: dict[str, object], status: int) -> None:
    """Each mistake has its own status, and the trace id in the answer."""
    response = api.client.post("/orders", json=order)

    assert (status, response.headers["x-trace-id"]) == (response.status_code, response.json()["trace_id"])


def test_a_declined_order_is_kept(api: Service) -> None:
    """It was tried, and the list says how it ended."""
    api.client.post("/orders", json={"user_id": 18, "sku": "shirt", "quantity": 100})

    assert "declined" == api.client.get("/orders", params={"user_id": 18}).json()["items"][0]["status"]


def test_the_lines_of_all_layers_and_both_services_have_the_id(api: Service, payments: Service) -> None:
    """Router, service, repository, database, background task, payments: no signature has the id, each line does."""
    trace_id = api.client.post("/orders", json=ORDER).headers["x-trace-id"]
    finished, charged = api.finished(trace_id), payments.finished(trace_id)

    loggers = {line["logger"] for line in api.lines(trace_id)}
    assert {
        "app.orders.router", "app.orders.service", "app.orders.repository", "app.users.service",
        "app.users.repository", "app.database.timers", "app.orders.payments", "observability",
    } <= loggers  # fmt: skip
    assert "Receipt sent" in {line["message"] for line in api.lines(trace_id)}
    assert {"app.payments.router", "observability"} == {line["logger"] for line in payments.lines(trace_id)}
    assert finished["span_id"] != charged["span_id"]


def test_the_line_says_where_the_time_went(api: Service) -> None:
    """Three statements, one call, and the wait for connections are parts of the whole."""
    trace_id = api.client.post("/orders", json=ORDER).headers["x-trace-id"]
    line = api.finished(trace_id)

    assert (3, 1, 17) == (line["db_calls"], line["upstream_calls"], line["user_id"])
    assert line["db_ms"] + line["upstream_ms"] + line["pool_wait_ms"] <= line["duration_ms"]


@pytest.fixture(scope="module")
def lonely(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service whose payments go away as soon as it is ready."""
    database = tmp_path_factory.mktemp("lonely") / "tested.db"
    with running(processes, "payments", {}, "payments-gone") as payments:
        settings = {"DATABASE_URL": f"sqlite:///{database}", "PAYMENTS_URL": payments.url}
        with running(processes, "api", settings, "api-lonely") as service:
            processes.kill("payments-gone")
            processes.start("payments-gone", ["sleep", "600"])
            yield service


def test_payments_away_is_a_503_that_names_it(lonely: Service) -> None:
    """Asked twice, told once as a retry and once as a failure with user and payload; the order is kept as unpaid."""
    response = lonely.client.post("/orders", json=ORDER)
    trace_id = response.headers["x-trace-id"]
    finished = lonely.finished(trace_id)
    lines = lonely.lines(trace_id)

    assert (503, "Payments does not answer.") == (response.status_code, response.json()["detail"])
    assert 2 == finished["upstream_calls"]
    assert 1 == sum(line["message"] == "Payments failed, asking once more" for line in lines)
    (failed,) = [line for line in lines if line.get("event") == "request.failed"]
    assert ("app.problems.UnavailableError", ORDER) == (failed["error_type"], failed["payload"])
    assert "unpaid" == lonely.client.get("/orders", params={"user_id": 17}).json()["items"][0]["status"]


@pytest.mark.anyio
async def test_payments_that_drips_is_given_up() -> None:
    """The time-out is for the whole answer: a byte now and then does not extend it; and there is one retry."""
    tries: list[asyncio.Task[None] | None] = []

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(asyncio.current_task())
        answer = itertools.chain(b"HTTP/1.1 201 Created\r\nX: ", itertools.repeat(ord("x")))
        with suppress(OSError):
            while True:
                writer.write(bytes([next(answer)]))
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        client = PaymentsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 0.2)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(client.charge(1, 100), 30)
        await client.close()
        await asyncio.wait([task for task in tries if task])
    assert 2 == len(tries)


def test_readiness_names_what_is_wrong(lonely: Service) -> None:
    """Alive, not ready, because of payments and not because of the database; a failed probe is told."""
    alive, ready = lonely.client.get("/healthz"), lonely.client.get("/readyz")

    assert (200, 503) == (alive.status_code, ready.status_code)
    checks = ready.json()["checks"]
    assert {"database": "ok", "tables": "ok", "payments": "Payments does not answer."} == checks
    assert "/readyz" == lonely.finished(ready.headers["x-trace-id"])["route"]
