"""Headers, browsers, streams, WebSockets and metrics."""

import json
import signal
import time

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integrations.projects import Project, example

ROUTES = """
import logging
from observability import continue_trace, inject, metrics_page
from starlette.responses import Response

routes = globals().get("api", app)

@routes.get("/ok")
async def ok() -> dict[str, str]:
    logging.getLogger("shop").info("Working")
    return inject()

@routes.get("/fails")
async def fails() -> None:
    raise ValueError("out of stock")

@routes.get("/metrics")
async def metrics() -> Response:
    page, content_type = metrics_page("")
    return Response(page, headers={"content-type": content_type})
"""


def test_another_request_id_header(project: Project) -> None:
    """The header that the application names is read, returned and passed on; X-Request-ID has no meaning."""
    worker = """
with continue_trace({"X-Correlation-ID": "job-7"}, "X-Correlation-ID"):
    logging.getLogger("shop").info("Job", extra=inject())
"""
    with project.serve(example("Request id headers"), ROUTES, worker) as service:
        response = service.client.get("/ok", headers={"X-Correlation-ID": "mine-1", "X-Request-ID": "ignored"})
        finished = service.line(event="request.finished", route="/ok")
        job = service.line(message="Job")
    assert ("mine-1", "mine-1") == (response.headers["X-Trace-ID"], response.headers["X-Correlation-ID"])
    assert "X-Request-ID" not in response.headers
    assert ("mine-1", "mine-1") == (finished["trace_id"], finished["request_id"])
    assert {"x-correlation-id": "mine-1"} == response.json()
    assert ("job-7", "job-7") == (job["trace_id"], job["x-correlation-id"])


@pytest.mark.parametrize(("path", "status"), [("/ok", 200), ("/fails", 500), ("/missing", 404)])
def test_scripts_in_browsers_can_read_the_trace_id(project: Project, path: str, status: int) -> None:
    """Responses to another origin allow it and expose the header; preflight requests have an id as well."""
    origin = {"Origin": "https://shop.example"}
    with project.serve(example("Browsers"), ROUTES) as service:
        response = service.client.get(path, headers=origin)
        preflight = service.client.options(path, headers={**origin, "Access-Control-Request-Method": "GET"})
        strange = service.client.get(path, headers={"Origin": "https://other.example"})
    assert status == response.status_code
    assert response.headers["X-Trace-ID"]
    assert "https://shop.example" == response.headers["Access-Control-Allow-Origin"]
    assert "X-Trace-ID" == response.headers["Access-Control-Expose-Headers"]
    assert (200, True) == (preflight.status_code, "X-Trace-ID" in preflight.headers)
    assert "Access-Control-Allow-Origin" not in strange.headers


def test_cors_inside_of_fastapi_leaves_a_500_unreadable(project: Project) -> None:
    """With `add_middleware`, the response to an unhandled exception has the id, but no CORS headers."""
    inside = "app = ObservabilityMiddleware(api)\napi.add_middleware(CORSMiddleware, allow_origins=['*'])"
    program = example("Browsers").replace("app = ObservabilityMiddleware(cors)", inside)
    with project.serve(program, ROUTES) as service:
        responses = [service.client.get(path, headers={"Origin": "https://x.example"}) for path in ("/ok", "/fails")]
    assert [True, True] == ["X-Trace-ID" in response.headers for response in responses]
    assert [True, False] == ["Access-Control-Allow-Origin" in response.headers for response in responses]


def test_a_stream_is_measured_to_its_first_byte(project: Project) -> None:
    """The line and the histogram have the time to the first byte; the line also has that of the whole stream."""
    with project.serve(example("Streams and server-sent events"), ROUTES) as service:
        assert 5 == service.client.get("/ticks?count=5").text.count("data:")
        finished = service.line(event="request.finished", route="/ticks")
        page = service.client.get("/metrics").text
    (total,) = [
        line.split()[-1]
        for line in page.splitlines()
        if line.startswith("http_request_duration_seconds_sum") and 'route="/ticks"' in line
    ]
    assert "ok" == finished["outcome"]
    assert 400 <= finished["stream_ms"] - finished["duration_ms"]
    assert finished["duration_ms"] == pytest.approx(float(total) * 1000, abs=0.001)


@pytest.mark.parametrize("count", [0, 1])
def test_a_quiet_stream_is_no_slow_request(project: Project, count: int) -> None:
    """A stream with one event, or with none, that the client leaves later is measured in the same way."""
    program = example("Streams and server-sent events").replace("asyncio.sleep(0.1)", "asyncio.sleep(60)")
    program = program.replace("    for number", "    if not count:\n        await asyncio.sleep(60)\n    for number")
    with project.serve(program) as service:
        with service.client.stream("GET", f"/ticks?count={count}") as response:
            assert 200 == response.status_code
            time.sleep(1)
        finished = service.line(event="request.finished", route="/ticks")
    assert "client_disconnect" == finished["outcome"]
    assert 500 < finished["stream_ms"] - finished["duration_ms"]


def test_an_open_stream_at_shutdown_is_no_failure(project: Project) -> None:
    """SIGTERM during a stream: `cancelled`, no failure, and no line with an exception."""
    options = ("--timeout-graceful-shutdown", "1")
    with project.serve(example("Streams and server-sent events"), options=options) as service:
        with service.client.stream("GET", "/ticks?count=100000") as response:
            events = response.iter_lines()
            assert "data: 0" == next(events)
            service.processes.kill("service", signal.SIGTERM)
        lines = service.lines()
        errors = service.errors()
    (finished,) = [line for line in lines if line.get("route") == "/ticks"]
    assert ("request.finished", "cancelled", 499) == (finished["event"], finished["outcome"], finished["status"])
    assert [] == [line for line in lines if "error_type" in line or "Traceback" in line["message"]]
    assert [] == [line for line in lines if line.get("event") == "request.failed"]
    assert "service.stopped" in [line.get("event") for line in lines]
    assert "" == errors


def test_a_websocket_has_its_id_in_the_handshake(project: Project) -> None:
    """Accepted or refused, the response has the id; there is one line when it is closed, and none before."""
    with project.serve(example("WebSockets")) as service:
        url = service.url.replace("http", "ws")
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{url}/echo", additional_headers={"X-Request-ID": "mine-1"}).close()
        with connect(f"{url}/echo?token=valid") as socket:
            assert socket.response is not None
            trace_id = socket.response.headers["X-Trace-ID"]
            for _ in range(3):
                socket.send("hello")
                assert "hello" == socket.recv()
            assert [] == service.lines(event="websocket.closed", trace_id=trace_id)
        closed = service.line(event="websocket.closed", trace_id=trace_id)
        accepted = service.line(message="Accepted")
        not_opened = service.line(event="websocket.closed", trace_id="mine-1")
    headers = refused.value.response.headers
    assert (403, "mine-1", "mine-1") == (
        refused.value.response.status_code, headers["X-Trace-ID"], headers["X-Request-ID"],
    )  # fmt: skip
    assert (1008, "client_error") == (not_opened["code"], not_opened["outcome"])
    assert trace_id == accepted["trace_id"]
    assert ("/echo", 1000, "ok", 3) == (closed["route"], closed["code"], closed["outcome"], closed["echo_calls"])


SOCKET = """
import asyncio, tracemalloc
from observability.middleware import ObservabilityMiddleware
from service import app

async def main():
    sent = 0
    before = 0
    async def receive():
        nonlocal sent, before
        if sent == 1_000:
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
        if sent == 101_000:
            after, _ = tracemalloc.get_traced_memory()
            print(after - before)
            return {"type": "websocket.disconnect", "code": 1000}
        sent += 1
        return {"type": "websocket.receive", "text": "hello"} if sent > 1 else {"type": "websocket.connect"}
    async def send(message):
        pass
    scope = {
        "type": "websocket", "path": "/echo", "headers": [], "query_string": b"token=valid", "subprotocols": [],
        "scheme": "ws", "server": ("shop", 80),
    }
    await app(scope, receive, send)

asyncio.run(main())
"""


def test_a_websocket_needs_no_more_memory(project: Project) -> None:
    """100,000 messages, each with a timer."""
    project.write("service.py", example("WebSockets"))
    *_, growth, closed = project.python(project.write("program.py", SOCKET)).splitlines()
    assert 50_000 > int(growth)
    assert 100_998 <= json.loads(closed)["echo_calls"]


TAKEN = """
from prometheus_client import Histogram
Histogram("http_request_duration_seconds", "Of another library", ["handler"]).labels("/ok").observe(1)
"""


def test_a_metric_of_the_same_name(project: Project) -> None:
    """In a shared registry theirs stays, a warning names ours, and two middlewares of it work."""
    private = example("Metrics of other libraries")
    shared = private.replace("api, registry=CollectorRegistry()", "ObservabilityMiddleware(api)")
    with project.serve(TAKEN, shared, ROUTES) as service:
        assert [200, 200] == [service.client.get("/ok").status_code for _ in range(2)]
        warning = service.line(level="warning")
        page = service.client.get("/metrics").text
        assert 2 == len(service.lines(event="request.finished", route="/ok"))
    assert "http_request_duration_seconds" in warning["message"]
    assert 'http_request_duration_seconds_count{handler="/ok"} 1.0' in page
    assert 'route="/ok"' not in page
    assert "http_requests_in_flight" in page


def test_a_registry_for_the_middleware_alone(project: Project) -> None:
    """There is no conflict, and no warning."""
    private = example("Metrics of other libraries")
    with project.serve(TAKEN, private, ROUTES) as service:
        assert 200 == service.client.get("/ok").status_code
        service.line(event="request.finished", route="/ok")
        assert [] == service.lines(level="warning")
