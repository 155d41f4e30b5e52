"""What one request emits: one line, one observation with its exemplar, and a header, all with the same id."""

from dataclasses import dataclass

import httpx2
import pytest

from app.observability import NO_REQUEST, current_request, openapi_routes
from app.observability._asgi import Receive, Scope, Send
from tests.app.observability.apps import OwnError, api, raw
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio

HEX = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{HEX}-b7ad6b7169203331-01", "X-Request-ID": "run-0-1"}


def observed(emitted: Emitted) -> httpx2.AsyncClient:
    app = api()
    return emitted.observe(
        app, routes=openapi_routes(app), quiet={"/ready"}, own_errors=(OwnError,), payload_values={"user_id"}
    )


async def test_one_request_is_told_once_everywhere_by_one_id(emitted: Emitted) -> None:
    """The lines of all layers, the response's header and the exemplar carry one trace id; value and duration agree."""
    async with observed(emitted) as client:
        response = await client.get("/api/things/7", headers=HEADERS)

    (found,) = emitted.lines(lambda line: line["logger"] == "tested")
    finished = emitted.finished()
    ((bucket, exemplar, value),) = emitted.exemplars()
    assert [HEX] == response.headers.get_list("x-trace-id")
    assert ["run-0-1"] == response.headers.get_list("x-request-id")
    assert {HEX} == {found["trace_id"], finished["trace_id"], exemplar["trace_id"]}
    assert found["span_id"] == finished["span_id"] == exemplar["span_id"]
    assert finished["duration_ms"] == pytest.approx(value * 1000)
    assert ("GET", "/api/things/{thing_id}", "200") == (bucket["method"], bucket["route"], bucket["status"])


async def test_the_line_says_what_the_request_was(emitted: Emitted) -> None:
    """Method, route, status, outcome, what was annotated, and where the time went; annotations replace nothing."""
    async with observed(emitted) as client:
        await client.get("/api/things/7", headers=HEADERS)

    line = emitted.finished()
    assert ("GET", "/api/things/{thing_id}", 200, "ok") == (
        line["method"], line["route"], line["status"], line["outcome"],
    )  # fmt: skip
    assert ("run-0-1", 7, 2) == (line["request_id"], line["user_id"], line["db_calls"])
    assert 0 < line["db_ms"] <= line["duration_ms"]


@pytest.mark.parametrize(
    ("method", "path", "route", "status", "outcome"),
    [
        pytest.param("GET", "/api/things/7", "/api/things/{thing_id}", 200, "ok", id="found"),
        pytest.param("GET", "/api/things/x", "/api/things/{thing_id}", 422, "client_error", id="invalid"),
        pytest.param("GET", "/nothing/7", "unmatched", 404, "client_error", id="not found"),
        pytest.param("DELETE", "/api/things/7", "/api/things/{thing_id}", 405, "client_error", id="not allowed"),
        pytest.param("GET", "/gone", "/gone", 410, "client_error", id="raised"),
        pytest.param("GET", "/own", "/own", 500, "server_error", id="unhandled"),
        pytest.param("GET", "/handled", "/handled", 503, "server_error", id="handled"),
    ],
)
async def test_every_response_is_told(
    emitted: Emitted, method: str, path: str, route: str, status: int, outcome: str
) -> None:
    """Whatever the answer is, it has the id, and it is one line and one observation under the route's template."""
    async with observed(emitted) as client:
        response = await client.request(method, path, headers=HEADERS)

    line = emitted.finished()
    assert (status, [HEX]) == (response.status_code, response.headers.get_list("x-trace-id"))
    assert (route, status, outcome) == (line["route"], line["status"], line["outcome"])
    declared = route != "unmatched" and status != 405
    labels = {"method": method if declared else "OTHER", "route": route, "status": str(status)}
    assert emitted.value("http_request_duration_seconds_count", **labels) == 1


async def test_an_unhandled_error_is_one_line_without_its_text(emitted: Emitted) -> None:
    """Type, stack and the payload's facts answer what happened; nothing shows what the user sent."""
    body = {"user_id": 7, "password": "hunter2", "tags": [1, 2]}
    async with observed(emitted) as client:
        response = await client.post("/api/things", json=body)

    line = emitted.failed()
    assert "ValueError" == line["error_type"]
    assert line["stack"][-1].startswith("tests/app/observability/apps.py:")
    assert line["stack"][-1].endswith(" _refuse")
    assert {"user_id": 7, "password": "str[7]", "tags": "list[2]"} == line["payload"]
    assert "hunter2" not in emitted.stream.getvalue() + response.text


async def test_the_text_of_an_own_error_is_told(emitted: Emitted) -> None:
    """An error whose class the application lists was written for people to read."""
    async with observed(emitted) as client:
        await client.get("/own")

    assert "the answer is known" == emitted.failed()["error_message"]


async def test_a_failure_that_a_handler_answered_is_told(emitted: Emitted) -> None:
    """A 503 that the application answers itself never reaches an outer layer as an exception; it says so instead."""
    async with observed(emitted) as client:
        await client.get("/handled")

    assert "payments is away" == emitted.failed()["error_message"]


async def test_the_background_is_not_latency_but_has_the_id(emitted: Emitted) -> None:
    """The request ends with its last byte; what is done afterwards is still that request's."""
    async with observed(emitted) as client:
        await client.get("/later", headers=HEADERS)

    (background,) = emitted.lines(lambda line: line["message"] == "Worked in the background")
    assert HEX == background["trace_id"]
    assert emitted.finished()["duration_ms"] < 200


async def test_a_stream_ends_with_its_last_byte(emitted: Emitted) -> None:
    """Latency is what the client waits for, not the time to the first byte."""
    async with observed(emitted) as client:
        await client.get("/stream")

    assert emitted.finished()["duration_ms"] >= 100


async def test_probes_are_told_only_when_they_fail(emitted: Emitted) -> None:
    """A successful probe makes neither line nor observation; a failed one makes both."""
    async with observed(emitted) as client:
        await client.get("/ready")
        assert not emitted.lines()
        assert not emitted.exemplars()

        await client.get("/ready", params={"broken": True})

    assert 503 == emitted.finished()["status"]
    assert 1 == len(emitted.exemplars())


async def test_a_raw_application_is_observed_as_well(emitted: Emitted) -> None:
    """No framework is needed; the header that it makes up itself is replaced."""
    async with emitted.observe(raw, routes={"/ok"}) as client:
        response = await client.get("/ok", headers=HEADERS)

    assert [HEX] == response.headers.get_list("x-trace-id")
    assert "/ok" == emitted.finished()["route"]


async def test_a_raw_application_that_raises_is_answered(emitted: Emitted) -> None:
    """Nobody else would: the server's own 500 has no id."""
    async with emitted.observe(raw) as client:
        response = await client.get("/raises", headers=HEADERS)

    assert (500, HEX) == (response.status_code, response.headers["x-trace-id"])
    assert "ValueError" == emitted.failed()["error_type"]


async def test_the_id_ends_with_its_request(emitted: Emitted) -> None:
    """A server may serve the next request, or nothing at all, in the same context: it has no id of the last one."""
    async with emitted.observe(raw) as client:
        for path in ("/ok", "/raises"):
            await client.get(path)
            assert current_request() is NO_REQUEST


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that takes no notes."""


async def test_whatever_is_raised_is_told_each_time(emitted: Emitted) -> None:
    """An exception that cannot be marked, and one that is raised again, make their lines like any other."""
    again = FrozenError()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise again

    async with emitted.observe(app) as client:
        for _ in range(2):
            assert 500 == (await client.get("/")).status_code

    events = [line["event"] for line in emitted.lines()]
    assert ["request.failed", "request.finished"] * 2 == sorted(events[:2]) + sorted(events[2:])


async def test_nothing_stays_in_flight(emitted: Emitted) -> None:
    """Requests are counted in and out, however they end."""
    async with emitted.observe(raw) as client:
        for path in ("/ok", "/raises", "/breaks"):
            await client.get(path)

    assert emitted.value("http_requests_in_flight") == 0


async def test_unknown_methods_are_one_label(emitted: Emitted) -> None:
    """A client that invents methods makes no series."""
    async with emitted.observe(raw, routes={"/ok"}) as client:
        for method in ("BREW", "WHEN"):
            await client.request(method, "/ok")

    assert emitted.value("http_request_duration_seconds_count", method="OTHER", route="/ok", status="200") == 2


async def test_a_sink_that_raises_is_counted_and_not_heard(emitted: Emitted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble with telemetry is not the client's trouble."""

    def explode(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("app.observability._metrics.Metrics.finished", explode)
    async with emitted.observe(raw, routes={"/ok"}) as client:
        response = await client.get("/ok")

    assert 200 == response.status_code
    assert emitted.value("log_records_failed_total") == 1
    assert emitted.finished()
