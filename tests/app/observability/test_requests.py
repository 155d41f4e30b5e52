"""What one request emits: one line, one observation with its exemplar, and a header, all with the same id."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from starlette.websockets import WebSocketDisconnect

from app.observability import NO_TRACE, current_trace, record_exception, record_time, timer
from app.observability.middleware import ASGIApp, Message, Receive, Scope, Send
from tests.app.observability.apps import OwnError, api, raw
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio

HEX = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{HEX}-b7ad6b7169203331-01", "X-Request-ID": "run-0-1"}


def observed(emitted: Emitted) -> httpx2.AsyncClient:
    return emitted.observe(api(), exclude={"/ready"}, safe_exceptions=(OwnError,), payload_values={"user_id"})


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


async def test_a_response_can_say_how_long_it_took(emitted: Emitted) -> None:
    """`Server-Timing` is there if it is asked for, on errors, too, and is no more than `duration_ms`."""
    async with emitted.observe(api(), server_timing=True) as client:
        timings = [(await client.get(path)).headers["server-timing"] for path in ("/api/things/7", "/nowhere")]
    durations = [line["duration_ms"] for line in emitted.lines(lambda line: line.get("event") == "request.finished")]
    told = [float(timing.removeprefix("app;dur=")) for timing in timings]
    assert all(0 < short <= long + 0.001 for short, long in zip(told, durations, strict=True))

    async with observed(emitted) as client:
        assert "server-timing" not in (await client.get("/api/things/7")).headers


async def test_the_background_is_not_latency_but_has_the_id(emitted: Emitted) -> None:
    """The request ends with its last byte; what is done afterwards is still that request's."""
    async with observed(emitted) as client:
        await client.get("/later", headers=HEADERS)

    (background,) = emitted.lines(lambda line: line["message"] == "Worked in the background")
    assert HEX == background["trace_id"]
    assert emitted.finished()["duration_ms"] < 200


async def test_the_latency_of_a_stream_is_the_time_to_its_first_byte(emitted: Emitted) -> None:
    """A stream may last an hour, and no client waits an hour for it; the line has its whole length, too."""
    async with observed(emitted) as client:
        await client.get("/stream")

    line = emitted.finished()
    ((_, _, observed_seconds),) = emitted.exemplars()
    assert line["duration_ms"] < 100 <= line["stream_ms"]
    assert line["duration_ms"] == pytest.approx(observed_seconds * 1000)


@pytest.mark.parametrize(("slow_ms", "level"), [(50, "warning"), (10_000, "info")])
async def test_a_slow_request_is_a_warning_with_its_payload(emitted: Emitted, slow_ms: float, level: str) -> None:
    """Slow requests are found by the level, and their line has what was asked for."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.1)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async with emitted.observe(app, slow_ms=slow_ms, payload_values={"sku"}) as client:
        await client.post("/", json={"sku": "mug", "card": "hunter2"})

    line = emitted.finished()
    assert level == line["level"]
    assert ({"sku": "mug", "card": "str[7]"} if level == "warning" else None) == line.get("payload")


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


async def test_what_is_sent_late_is_not_lost(emitted: Emitted) -> None:
    """Looking whether the client is there takes what it sent; an application that reads it afterwards gets it all."""
    body = b""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal body
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200})
        while not body.endswith(b"end"):
            body += (await receive())["body"]
        await send({"type": "http.response.body"})

    async def parts() -> AsyncIterator[bytes]:
        yield b"begin, "
        yield b"end"

    async with emitted.observe(app) as client:
        assert 200 == (await client.post("/", content=parts())).status_code

    assert b"begin, end" == body
    assert "ok" == emitted.finished()["outcome"]


async def test_a_server_that_cannot_send_has_lost_its_client(emitted: Emitted) -> None:
    """ASGI says it by an `OSError`: no failure of anybody here."""

    async def send(_: Message) -> None:
        raise BrokenPipeError

    scope = {"type": "http", "method": "GET", "path": "/ok", "headers": []}
    with pytest.raises(BrokenPipeError):
        await emitted.wrap(raw)(scope, _nothing, send)

    (line,) = emitted.lines()
    assert (499, "client_disconnect") == (line["status"], line["outcome"])


async def _nothing() -> Message:
    return {"type": "http.request"}


async def test_an_error_of_the_system_is_a_failure(emitted: Emitted) -> None:
    """An application's own `OSError`, such as a file that is not there, says nothing of the client."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise FileNotFoundError

    async with emitted.observe(app) as client:
        assert 500 == (await client.get("/")).status_code

    assert "FileNotFoundError" == emitted.failed()["error_type"]


async def test_a_failure_after_the_client_left_is_a_failure(emitted: Emitted) -> None:
    """What an application fails at is told also if nobody waits for it any more."""

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise FileNotFoundError

    async def leaving() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None: ...

    with pytest.raises(FileNotFoundError):
        await emitted.wrap(app)({"type": "http", "method": "GET", "path": "/", "headers": []}, leaving, send)

    assert "FileNotFoundError" == emitted.failed()["error_type"]
    assert 499 == emitted.finished()["status"]


async def test_a_file_that_the_server_sends_itself_is_an_answer(emitted: Emitted) -> None:
    """With ASGI's extension `pathsend` there is no body, and the request is over nevertheless."""
    sent: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": "/a/file"})

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await emitted.wrap(app)({"type": "http", "method": "GET", "path": "/", "headers": []}, _nothing, send)

    assert ["http.response.start", "http.response.pathsend"] == sent
    assert (200, "ok") == (emitted.finished()["status"], emitted.finished()["outcome"])


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        pytest.param({"a": "x" * 20_000}, {"content_type": "application/json", "bytes": 20_008}, id="long"),
        pytest.param({"user_id": "x" * 65, "n": None}, {"user_id": "str[65]", "n": "NoneType"}, id="long value"),
        pytest.param({"x" * 65: True}, {"x" * 64: "bool"}, id="long key"),
        pytest.param(
            {str(number): number for number in range(40)}, {str(number): "int" for number in range(32)}, id="many keys"
        ),
        pytest.param([1, 2], {"content_type": "application/json", "bytes": 5}, id="list"),
    ],
)
async def test_the_facts_of_a_payload_are_bounded(emitted: Emitted, body: object, payload: dict[str, object]) -> None:
    """Keys are a client's, too: their number and length, and how much is kept of a body, have limits."""
    async with observed(emitted) as client:
        await client.post("/api/things", json=body)

    assert payload == emitted.failed()["payload"]


@pytest.mark.parametrize("body", [b"[" * 10_000, b"\xff", b'{"a":', b'{"a": 1' + b"0" * 5_000 + b"}"])
async def test_a_payload_that_is_no_json_says_so(emitted: Emitted, body: bytes) -> None:
    """However it is broken, the failure is told as what it was."""

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise KeyError

    async with emitted.observe(app) as client:
        await client.post("/", content=body, headers={"content-type": "application/json"})

    failed = emitted.failed()
    assert "KeyError" == failed["error_type"]
    assert {"content_type": "application/json", "bytes": len(body), "json": "invalid"} == failed["payload"]


async def test_a_failure_that_leaves_the_application_after_it_was_recorded_is_one(emitted: Emitted) -> None:
    """Frameworks let a handler answer, and raise the exception again for the server; one behind it is another."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        error = OwnError("once")
        record_exception(error)
        record_exception(error)
        await send({"type": "http.response.start", "status": 503})
        await send({"type": "http.response.body"})
        if _scope["path"] == "/other":
            error = OwnError("twice")
        raise error

    async with emitted.observe(app, safe_exceptions=(OwnError,)) as client:
        await client.get("/same")
        await client.get("/other")

    told = [line["error_message"] for line in emitted.lines() if line["event"] == "request.failed"]
    assert ["once", "once", "twice"] == told


async def test_times_are_added_up(emitted: Emitted) -> None:
    """What a request spent on one thing, in several goes, is one field and a number; what failed is in it."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        record_time("db", 0.25)
        record_time("db", 0.5)
        with contextlib.suppress(ValueError), timer("upstream"):
            raise ValueError
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        record_time("db", 9)  # in the background

    async with emitted.observe(app) as client:
        await client.get("/")

    line = emitted.finished()
    assert (750, 2, 1) == (line["db_ms"], line["db_calls"], line["upstream_calls"])


async def test_the_id_ends_with_its_request(emitted: Emitted) -> None:
    """A server may serve the next request, or nothing at all, in the same context: it has no id of the last one."""
    async with emitted.observe(raw) as client:
        for path in ("/ok", "/raises"):
            await client.get(path)
            assert current_trace() is NO_TRACE


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


async def test_a_filter_that_raises_does_not_break_the_response(emitted: Emitted) -> None:
    """The application's own filters and handlers may raise; the loss is counted."""

    def broken(_: logging.LogRecord) -> bool:
        raise RuntimeError

    access = logging.getLogger("observability.access")
    async with emitted.observe(raw, routes={"/ok"}) as client:
        before = emitted.value("log_records_failed_total") or 0
        access.addFilter(broken)
        try:
            response = await client.get("/ok")
        finally:
            access.removeFilter(broken)

    assert 200 == response.status_code
    assert before + 1 == emitted.value("log_records_failed_total")
    assert 1 == emitted.value("http_request_duration_seconds_count", method="GET", route="/ok", status="200")


async def refusing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1000})


async def listening(_scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def denying(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 403, "headers": [(b"X-Trace-ID", b"made up")]})
    await send({"type": "websocket.http.response.body", "body": b"no"})


async def talk(app: ASGIApp, code: int) -> list[Message]:
    """Open a websocket, which the client closes with `code`; return what the application sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.disconnect", "code": code}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/socket", "headers": [(b"x-request-id", b"asked")]}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("app", "closed_with", "code", "outcome"),
    [
        pytest.param(listening, 1000, 1000, "ok", id="done"),
        pytest.param(listening, 1001, 1001, "ok", id="went away"),
        pytest.param(listening, 1006, 1006, "client_disconnect", id="was lost"),
        pytest.param(listening, 1003, 1003, "client_error", id="made a mistake"),
        pytest.param(refusing, 0, 1008, "client_error", id="refused"),
        pytest.param(denying, 0, 1008, "client_error", id="denied with a response"),
    ],
)
async def test_how_a_websocket_ended_is_told(
    emitted: Emitted, app: ASGIApp, closed_with: int, code: int, outcome: str
) -> None:
    """Its code and outcome; and a head, whichever it is, has the id once."""
    first, *_ = await talk(emitted.wrap(app), closed_with)

    (line,) = emitted.lines()
    assert ("asked", code, outcome) == (line["trace_id"], line["code"], line["outcome"])
    ids = [value for name, value in first.get("headers", []) if name.lower() == b"x-trace-id"]
    assert ([] if first["type"] == "websocket.close" else [b"asked"]) == ids
    assert current_trace() is NO_TRACE


async def test_a_websocket_whose_client_left_is_no_failure(emitted: Emitted) -> None:
    """Starlette raises where an application goes on receiving; hardly any catches that."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise WebSocketDisconnect((await receive())["code"])

    with pytest.raises(WebSocketDisconnect):
        await talk(emitted.wrap(app), 1001)

    (line,) = emitted.lines()
    assert ("websocket.closed", 1001, "ok") == (line["event"], line["code"], line["outcome"])
