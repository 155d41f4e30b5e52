"""What one request emits: one line, one observation with its exemplar, and a header, all with the same trace id."""

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
from tests.app.observability.apps import OwnError, api, plain_asgi
from tests.emitted import Emitted, Line

pytestmark = pytest.mark.anyio

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01", "X-Request-ID": "run-0-1"}
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


def observed(emitted: Emitted) -> httpx2.AsyncClient:
    return emitted.observe(api(), exclude={"/ready"}, safe_exceptions=(OwnError,), payload_values={"user_id"})


def lines_of(emitted: Emitted, event: str) -> list[Line]:
    return emitted.lines(lambda line: line.get("event") == event)


async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


async def receive_request() -> Message:
    return {"type": "http.request"}


async def test_lines_header_and_exemplar_have_the_same_trace_id(emitted: Emitted) -> None:
    """Lines and exemplar also have the same span id, and the same duration."""
    async with observed(emitted) as client:
        response = await client.get("/api/things/7", headers=HEADERS)

    (found,) = emitted.lines(lambda line: line["logger"] == "tested")
    finished = emitted.finished()
    ((bucket, exemplar, value),) = emitted.exemplars()
    assert [TRACE_ID] == response.headers.get_list("x-trace-id")
    assert ["run-0-1"] == response.headers.get_list("x-request-id")
    assert {TRACE_ID} == {found["trace_id"], finished["trace_id"], exemplar["trace_id"]}
    assert found["span_id"] == finished["span_id"] == exemplar["span_id"]
    assert finished["duration_ms"] == pytest.approx(value * 1000)
    assert ("GET", "/api/things/{thing_id}", "200") == (bucket["method"], bucket["route"], bucket["status"])


async def test_the_fields_of_a_finished_request(emitted: Emitted) -> None:
    """Request id, method, route, status, outcome, annotations and timings; annotations cannot replace the others."""
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
        pytest.param("GET", "/api/things/7", "/api/things/{thing_id}", 200, "ok", id="success"),
        pytest.param("GET", "/api/things/x", "/api/things/{thing_id}", 422, "client_error", id="invalid"),
        pytest.param("GET", "/nothing/7", "unmatched", 404, "client_error", id="not found"),
        pytest.param("DELETE", "/api/things/7", "/api/things/{thing_id}", 405, "client_error", id="not allowed"),
        pytest.param("GET", "/http-exception", "/http-exception", 410, "client_error", id="HTTPException"),
        pytest.param("GET", "/own-error", "/own-error", 500, "server_error", id="unhandled"),
        pytest.param("GET", "/recorded", "/recorded", 503, "server_error", id="recorded"),
    ],
)
async def test_every_response_is_logged_and_observed_once(
    emitted: Emitted, method: str, path: str, route: str, status: int, outcome: str
) -> None:
    """The line and the metric have the template of the route; the response has the trace id."""
    async with observed(emitted) as client:
        response = await client.request(method, path, headers=HEADERS)

    line = emitted.finished()
    assert (status, [TRACE_ID]) == (response.status_code, response.headers.get_list("x-trace-id"))
    assert (route, status, outcome) == (line["route"], line["status"], line["outcome"])
    declared = route != "unmatched" and status != 405
    labels = {"method": method if declared else "OTHER", "route": route, "status": str(status)}
    assert emitted.value("http_request_duration_seconds_count", **labels) == 1


async def test_an_unhandled_exception_is_logged_without_its_message(emitted: Emitted) -> None:
    """With type, stack and a description of the payload, but without what the user sent."""
    body = {"user_id": 7, "password": "hunter2", "tags": [1, 2]}
    async with observed(emitted) as client:
        response = await client.post("/api/things", json=body)

    line = emitted.failed()
    assert "ValueError" == line["error_type"]
    assert line["stack"][-1].startswith("tests/app/observability/apps.py:")
    assert line["stack"][-1].endswith(" _create_thing")
    assert {"user_id": 7, "password": "str[7]", "tags": "list[2]"} == line["payload"]
    assert "hunter2" not in emitted.stream.getvalue() + response.text


async def test_the_message_of_a_safe_exception_is_logged(emitted: Emitted) -> None:
    """The application lists the classes whose messages contain no data of users."""
    async with observed(emitted) as client:
        await client.get("/own-error")

    assert "out of stock" == emitted.failed()["error_message"]


async def test_an_exception_that_a_handler_records_is_logged(emitted: Emitted) -> None:
    """It does not reach the middleware, because the handler turns it into a response."""
    async with observed(emitted) as client:
        await client.get("/recorded")

    assert "payments is down" == emitted.failed()["error_message"]


async def test_an_exception_is_logged_once_per_request(emitted: Emitted) -> None:
    """Also if it is recorded twice, and then raised for the server; another exception is logged, too."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        error = OwnError("first")
        record_exception(error)
        record_exception(error)
        await respond(scope, receive, send)
        raise error if scope["path"] == "/same" else OwnError("second")

    async with emitted.observe(app, safe_exceptions=(OwnError,)) as client:
        await client.get("/same")
        await client.get("/other")

    assert ["first", "first", "second"] == [line["error_message"] for line in lines_of(emitted, "request.failed")]


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that cannot be marked as logged."""


async def test_one_exception_object_in_two_requests_is_logged_twice(emitted: Emitted) -> None:
    """The exceptions of a request are remembered without marking the object, which may be immutable."""
    error = FrozenError()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    async with emitted.observe(app) as client:
        for _ in range(2):
            assert 500 == (await client.get("/")).status_code

    assert 2 == len(lines_of(emitted, "request.failed"))
    assert 2 == len(lines_of(emitted, "request.finished"))


async def test_the_server_timing_header(emitted: Emitted) -> None:
    """It is optional, is on error responses, too, and is not longer than `duration_ms`."""
    async with emitted.observe(api(), server_timing=True) as client:
        headers = [(await client.get(path)).headers["server-timing"] for path in ("/api/things/7", "/nothing")]
    durations = [line["duration_ms"] for line in lines_of(emitted, "request.finished")]
    timings = [float(header.removeprefix("app;dur=")) for header in headers]
    assert all(0 < timing <= duration + 0.001 for timing, duration in zip(timings, durations, strict=True))

    async with observed(emitted) as client:
        assert "server-timing" not in (await client.get("/api/things/7")).headers


async def test_a_background_task_has_the_trace_id(emitted: Emitted) -> None:
    """It runs after the request is finished, so it does not add to the duration."""
    async with observed(emitted) as client:
        await client.get("/background", headers=HEADERS)

    finished, background = emitted.lines()
    assert ("request.finished", "Background task") == (finished["event"], background["message"])
    assert TRACE_ID == background["trace_id"]


async def test_the_latency_of_a_stream_is_the_time_to_its_first_byte(emitted: Emitted) -> None:
    """The time to the last byte is in `stream_ms`."""
    async with observed(emitted) as client:
        await client.get("/stream")  # sleeps 100 ms after the first byte

    line = emitted.finished()
    ((_, _, seconds),) = emitted.exemplars()
    assert line["stream_ms"] - line["duration_ms"] >= 95
    assert line["duration_ms"] == pytest.approx(seconds * 1000)


@pytest.mark.parametrize(("slow_ms", "level"), [(50, "warning"), (100_000, "info")])
async def test_a_slow_request_is_a_warning_with_its_payload(emitted: Emitted, slow_ms: float, level: str) -> None:
    """Other requests have neither the level nor the payload."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.1)
        await respond(scope, receive, send)

    async with emitted.observe(app, slow_ms=slow_ms, payload_values={"sku"}) as client:
        await client.post("/", json={"sku": "mug", "card": "hunter2"})

    line = emitted.finished()
    assert level == line["level"]
    assert ({"sku": "mug", "card": "str[7]"} if level == "warning" else None) == line.get("payload")


async def test_a_successful_probe_is_not_logged(emitted: Emitted) -> None:
    """Nor is it observed."""
    async with observed(emitted) as client:
        assert 200 == (await client.get("/ready")).status_code

    assert not emitted.lines()
    assert not emitted.exemplars()


async def test_a_failed_probe_is_logged(emitted: Emitted) -> None:
    """And observed."""
    async with observed(emitted) as client:
        await client.get("/ready", params={"status": 503})

    assert 503 == emitted.finished()["status"]
    assert 1 == len(emitted.exemplars())


async def test_an_application_without_a_framework(emitted: Emitted) -> None:
    """If it sets the header itself, the value is replaced."""
    async with emitted.observe(plain_asgi, routes={"/ok"}) as client:
        response = await client.get("/ok", headers=HEADERS)

    assert [TRACE_ID] == response.headers.get_list("x-trace-id")
    assert "/ok" == emitted.finished()["route"]


async def test_an_exception_without_a_framework_gets_a_response(emitted: Emitted) -> None:
    """The response of the server would not have the trace id."""
    async with emitted.observe(plain_asgi) as client:
        response = await client.get("/raise", headers=HEADERS)

    assert (500, TRACE_ID) == (response.status_code, response.headers["x-trace-id"])
    assert "ValueError" == emitted.failed()["error_type"]


async def test_a_body_can_be_read_after_the_response_has_started(emitted: Emitted) -> None:
    """The middleware does not consume any part of it."""
    body = b""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal body
        await send({"type": "http.response.start", "status": 200})
        while not body.endswith(b"end"):
            body += (await receive())["body"]
        await send({"type": "http.response.body"})

    async def chunks() -> AsyncIterator[bytes]:
        yield b"begin, "
        yield b"end"

    async with emitted.observe(app) as client:
        assert 200 == (await client.post("/", content=chunks())).status_code

    assert b"begin, end" == body
    assert "ok" == emitted.finished()["outcome"]


async def test_an_os_error_of_the_server_is_a_client_disconnect(emitted: Emitted) -> None:
    """According to ASGI, `send` raises it if the client has left. It is not a failure."""

    async def send(_: Message) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await emitted.wrap(plain_asgi)(SCOPE, receive_request, send)

    (line,) = emitted.lines()
    assert (499, "client_disconnect") == (line["status"], line["outcome"])


async def test_an_os_error_of_the_application_is_a_failure(emitted: Emitted) -> None:
    """Such as a missing file."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise FileNotFoundError

    async with emitted.observe(app) as client:
        assert 500 == (await client.get("/")).status_code

    assert "FileNotFoundError" == emitted.failed()["error_type"]


async def test_an_exception_after_a_client_disconnect_is_a_failure(emitted: Emitted) -> None:
    """The status is 499, because the client did not get a response."""

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise FileNotFoundError

    async def receive_disconnect() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None: ...

    with pytest.raises(FileNotFoundError):
        await emitted.wrap(app)(SCOPE, receive_disconnect, send)

    assert "FileNotFoundError" == emitted.failed()["error_type"]
    assert 499 == emitted.finished()["status"]


async def test_a_file_that_the_server_sends_is_a_response(emitted: Emitted) -> None:
    """With the ASGI extension `http.response.pathsend` there is no body."""
    sent: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": "/a/file"})

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await emitted.wrap(app)(SCOPE, receive_request, send)

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
async def test_the_description_of_a_payload_is_bounded(
    emitted: Emitted, body: object, payload: dict[str, object]
) -> None:
    """The number and the length of keys, the length of values, and how much of a body is kept have limits."""
    async with observed(emitted) as client:
        await client.post("/api/things", json=body)

    assert payload == emitted.failed()["payload"]


@pytest.mark.parametrize("body", [b"[" * 10_000, b"\xff", b'{"a":', b'{"a": 1' + b"0" * 5_000 + b"}"])
async def test_an_invalid_json_payload_is_described_as_invalid(emitted: Emitted, body: bytes) -> None:
    """It does not hide the exception of the application."""

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise KeyError

    async with emitted.observe(app) as client:
        await client.post("/", content=body, headers={"content-type": "application/json"})

    failed = emitted.failed()
    assert "KeyError" == failed["error_type"]
    assert {"content_type": "application/json", "bytes": len(body), "json": "invalid"} == failed["payload"]


async def test_times_of_the_same_name_are_added_up(emitted: Emitted) -> None:
    """Also if the measured block raises; times after the end of the request are ignored."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record_time("db", 0.25)
        record_time("db", 0.5)
        with contextlib.suppress(ValueError), timer("upstream"):
            raise ValueError
        await respond(scope, receive, send)
        record_time("db", 9)  # in the background

    async with emitted.observe(app) as client:
        await client.get("/")

    line = emitted.finished()
    assert (750, 2, 1) == (line["db_ms"], line["db_calls"], line["upstream_calls"])


@pytest.mark.parametrize("path", ["/ok", "/raise", "/headers-then-raise"])
async def test_there_is_no_trace_after_a_request(emitted: Emitted, path: str) -> None:
    """A server may handle the next request, or do something else, in the same context."""
    async with emitted.observe(plain_asgi) as client:
        await client.get(path)

    assert current_trace() is NO_TRACE


@pytest.mark.parametrize("path", ["/ok", "/raise", "/headers-then-raise"])
async def test_requests_in_flight(emitted: Emitted, path: str) -> None:
    """The gauge is 1 during a request, and 0 after it."""
    during: list[float | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        during.append(emitted.value("http_requests_in_flight"))
        await plain_asgi(scope, receive, send)

    async with emitted.observe(app) as client:
        await client.get(path)

    assert [1] == during
    assert 0 == emitted.value("http_requests_in_flight")


async def test_unknown_methods_share_one_label(emitted: Emitted) -> None:
    """So that a client cannot create series."""
    async with emitted.observe(plain_asgi, routes={"/ok"}) as client:
        for method in ("BREW", "WHEN"):
            await client.request(method, "/ok")

    assert emitted.value("http_request_duration_seconds_count", method="OTHER", route="/ok", status="200") == 2


async def test_a_response_to_head_has_the_trace_id(emitted: Emitted) -> None:
    """`HEAD` is a known method in the line and in the metric."""
    async with emitted.observe(plain_asgi, routes={"/ok"}) as client:
        response = await client.head("/ok", headers=HEADERS)

    assert [TRACE_ID] == response.headers.get_list("x-trace-id")
    assert "HEAD" == emitted.finished()["method"]
    assert emitted.value("http_request_duration_seconds_count", method="HEAD", route="/ok", status="200") == 1


async def test_a_filter_that_raises_does_not_break_the_response(emitted: Emitted) -> None:
    """The line is counted as lost, and the request is observed."""

    def fail(_: logging.LogRecord) -> bool:
        raise RuntimeError

    access = logging.getLogger("observability.access")
    async with emitted.observe(plain_asgi, routes={"/ok"}) as client:
        before = emitted.value("log_records_failed_total") or 0
        access.addFilter(fail)
        try:
            response = await client.get("/ok")
        finally:
            access.removeFilter(fail)

    assert 200 == response.status_code
    assert before + 1 == emitted.value("log_records_failed_total")
    assert 1 == emitted.value("http_request_duration_seconds_count", method="GET", route="/ok", status="200")


async def close_websocket(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1000})


async def accept_websocket(_scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def deny_websocket(_scope: Scope, _receive: Receive, send: Send) -> None:
    headers = [(b"X-Trace-ID", b"invented")]
    await send({"type": "websocket.http.response.start", "status": 403, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"no"})


async def open_websocket(app: ASGIApp, code: int) -> list[Message]:
    """Open a websocket, which the client closes with `code`; return what the application sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.disconnect", "code": code}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/socket", "headers": [(b"x-request-id", b"asked")]}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("app", "client_code", "code", "outcome"),
    [
        pytest.param(accept_websocket, 1000, 1000, "ok", id="normal closure"),
        pytest.param(accept_websocket, 1001, 1001, "ok", id="going away"),
        pytest.param(accept_websocket, 1006, 1006, "client_disconnect", id="abnormal closure"),
        pytest.param(accept_websocket, 1003, 1003, "client_error", id="unsupported data"),
        pytest.param(close_websocket, 0, 1008, "client_error", id="closed before it was accepted"),
        pytest.param(deny_websocket, 0, 1008, "client_error", id="denied with a response"),
    ],
)
async def test_a_websocket_is_logged_once(
    emitted: Emitted, app: ASGIApp, client_code: int, code: int, outcome: str
) -> None:
    """With its close code and outcome; the headers of its first message have the trace id once."""
    first, *_ = await open_websocket(emitted.wrap(app), client_code)

    (line,) = emitted.lines()
    assert ("asked", code, outcome) == (line["trace_id"], line["code"], line["outcome"])
    ids = [value for name, value in first.get("headers", []) if name.lower() == b"x-trace-id"]
    assert ([] if first["type"] == "websocket.close" else [b"asked"]) == ids
    assert current_trace() is NO_TRACE


async def test_starlettes_websocket_disconnect_is_not_a_failure(emitted: Emitted) -> None:
    """Few applications catch this exception."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise WebSocketDisconnect((await receive())["code"])

    with pytest.raises(WebSocketDisconnect):
        await open_websocket(emitted.wrap(app), 1001)

    (line,) = emitted.lines()
    assert ("websocket.closed", 1001, "ok") == (line["event"], line["code"], line["outcome"])
