"""The middleware behind a real uvicorn, with both of its HTTP parsers and both event loops."""

import asyncio
import contextlib
import random
import socket
import string
import sys
from collections import Counter
from collections.abc import Iterator

import httpx2
import psutil
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from app.observability import new_trace_id
from tests.emitted import Line
from tests.processes import Processes, free_port
from tests.services import Service
from tests.waiting import wait_for


@pytest.fixture(scope="module", params=[("h11", "asyncio"), ("httptools", "uvloop")], ids="-".join)
def server(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Service]:
    """Run `uvicorn_app`; at the end, check that it wrote only JSON lines and no messages of exceptions."""
    http, loop = request.param
    name, port = f"uvicorn-{http}", free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start(name, [sys.executable, "-m", "tests.app.observability.uvicorn_app", str(port), http, loop])
    processes.wait_until_ready(name, f"{url}/metrics")
    # After an exception uvicorn closes the connection, which could be in use for the next request already.
    with httpx2.Client(base_url=url, timeout=60, headers={"Connection": "close"}) as client:
        service = Service(name, url, processes.output(name), client)
        yield service
    processes.stop(name)
    assert service.lines()
    assert "" == processes.errors(name).read_text()
    assert "hunter2" not in service.output.read_text()


def connect(server: Service) -> contextlib.closing[socket.socket]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return contextlib.closing(socket.create_connection((host, int(port)), timeout=30))


def get(server: Service, path: str) -> str:
    """Send a request whose response may be incomplete; return its trace id."""
    trace_id = new_trace_id()
    with contextlib.suppress(httpx2.HTTPError):
        server.client.get(path, headers={"X-Request-ID": trace_id})
    return trace_id


def failures(server: Service, trace_id: str) -> list[Line]:
    return [line for line in server.lines(trace_id) if line.get("event") == "request.failed"]


def failure(server: Service, trace_id: str) -> Line:
    """Wait for the `request.failed` line of a trace, and check that it is the only one."""
    (line,) = wait_for(lambda: failures(server, trace_id), f"the failure of {trace_id}")
    return line


def uvicorn_lines(server: Service) -> list[Line]:
    return [line for line in server.lines() if line["logger"].startswith("uvicorn")]


def request_count(server: Service, **labels: str) -> float:
    samples = [sample for sample in server.samples() if sample.name == "http_request_duration_seconds_count"]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_client_disconnect_during_a_stream(server: Service) -> None:
    """The status is 499 and the outcome `client_disconnect`, in the line and in the metric; it is not a failure."""
    trace_id = new_trace_id()
    before = request_count(server, route="/stream", status="499")
    with connect(server) as client:
        client.sendall(f"GET /stream HTTP/1.1\r\nHost: x\r\nX-Request-ID: {trace_id}\r\n\r\n".encode())
        client.recv(1000)
    line = server.finished(trace_id)

    assert (499, "client_disconnect") == (line["status"], line["outcome"])
    assert before + 1 == request_count(server, route="/stream", status="499")
    assert not failures(server, trace_id)


def test_client_disconnect_during_a_request_body(server: Service) -> None:
    """Starlette raises `ClientDisconnect`; neither the middleware nor uvicorn logs it as an error."""
    trace_id = new_trace_id()
    head = f"POST /upload HTTP/1.1\r\nHost: x\r\nX-Request-ID: {trace_id}\r\nContent-Length: 9\r\n\r\n"
    with connect(server) as client:
        client.sendall(f"{head}ab".encode())
        wait_for(lambda: server.lines(trace_id), "the request to arrive")
    line = server.finished(trace_id)

    assert (499, "client_disconnect") == (line["status"], line["outcome"])
    assert not failures(server, trace_id)
    server.client.get("/sync/next")
    assert not uvicorn_lines(server)


def test_a_body_that_the_application_ignores_is_not_requested(server: Service) -> None:
    """A client that sends `Expect: 100-continue` gets the response, not `100 Continue`."""
    with connect(server) as client:
        client.sendall(
            b"POST /ignore-body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )  # fmt: skip
        response = client.recv(1000)

    assert response.startswith(b"HTTP/1.1 200")


def test_an_exception_during_a_stream(server: Service) -> None:
    """The status was sent already, so only the outcome shows the failure."""
    before = request_count(server, route="/stream", status="200")
    trace_id = get(server, "/stream?fail=true")
    line = server.finished(trace_id)

    assert (200, "server_error") == (line["status"], line["outcome"])
    assert "ValueError" == failure(server, trace_id)["error_type"]
    assert before + 1 == request_count(server, route="/stream", status="200")


def test_an_exception_in_a_background_task(server: Service) -> None:
    """The request was finished before, with the outcome `ok`; the failure has its trace id."""
    trace_id = get(server, "/background")
    failed, finished = failure(server, trace_id), server.finished(trace_id)

    assert ("ok", "ValueError") == (finished["outcome"], failed["error_type"])
    assert finished["timestamp"] <= failed["timestamp"]


def test_an_exception_in_a_task_that_is_never_awaited(server: Service) -> None:
    """It is logged without its message, and from Python 3.12 on with the trace id of the request."""
    trace_id = get(server, "/unawaited-task")
    line = wait_for(
        lambda: next((line for line in server.lines() if "never retrieved" in line["message"]), None), "the line"
    )

    assert ("ValueError", "error") == (line["error_type"], line["level"])
    if sys.version_info >= (3, 12):
        assert trace_id == line["trace_id"]


def test_an_exception_in_a_callback(server: Service) -> None:
    """It is logged without the arguments of the callback, which asyncio would print."""
    get(server, "/callback")
    line = wait_for(
        lambda: next((line for line in server.lines() if line["message"].startswith("Exception in callback")), None),
        "the line",
    )

    assert ("Exception in callback", "ValueError") == (line["message"], line["error_type"])


@pytest.mark.parametrize("path", ["/raise", "/group", "/starlette/raise", "/asgi/raise", "/asgi/no-response"])
def test_an_unhandled_exception_is_logged_once(server: Service, path: str) -> None:
    """By the middleware and not by uvicorn."""
    trace_id = get(server, path)

    assert "error" == failure(server, trace_id)["level"]
    assert 500 == server.finished(trace_id)["status"]
    server.client.get("/sync/next")
    assert not uvicorn_lines(server)


def test_the_members_of_an_exception_group_are_in_the_stack(server: Service) -> None:
    """The type of the group does not show what happened."""
    failed = failure(server, get(server, "/group"))

    assert "ExceptionGroup" == failed["error_type"]
    assert "with KeyError" in failed["stack"]


def test_a_cancelled_request(server: Service) -> None:
    """The status is 499 and the outcome `cancelled`; neither the middleware nor uvicorn logs an error."""
    trace_id = get(server, "/cancelled")
    line = server.finished(trace_id)

    assert (499, "cancelled") == (line["status"], line["outcome"])
    assert not failures(server, trace_id)
    server.client.get("/sync/next")
    assert not uvicorn_lines(server)


def test_a_blocked_event_loop(server: Service) -> None:
    """The line of the request that blocks it has `loop_lag_ms`, and the histogram has an observation."""
    server.client.get("/sync/first")
    before = long_lags(server)
    trace_id = get(server, "/block")

    assert server.finished(trace_id)["loop_lag_ms"] > 600
    assert before < long_lags(server)


def long_lags(server: Service) -> float:
    """Return the number of observations of more than half a second."""
    name = "event_loop_lag_seconds_bucket"
    buckets = {sample.labels["le"]: sample.value for sample in server.samples() if sample.name == name}
    return buckets["+Inf"] - buckets["0.5"]


def test_a_websocket(server: Service) -> None:
    """The handshake and the lines have the trace id; one line has the outcome; the request metric does not count it."""
    trace_id = new_trace_id()
    before = request_count(server)
    events = open_websocket(server, trace_id, "hello")

    (accepted,) = [event for event in events if isinstance(event, AcceptConnection)]
    assert [trace_id.encode()] == [value for name, value in accepted.extra_headers if name == b"x-trace-id"]
    closed = websocket_closed(server, trace_id)
    assert ("/socket", 1000, "ok") == (closed["route"], closed["code"], closed["outcome"])
    assert ["Accepted", "WebSocket closed"] == [line["message"] for line in server.lines(trace_id)]
    assert before == request_count(server)


def test_an_exception_in_a_websocket(server: Service) -> None:
    """It is logged once, and the outcome is `server_error`."""
    trace_id = new_trace_id()
    open_websocket(server, trace_id, "fail")

    closed = websocket_closed(server, trace_id)
    assert (1011, "server_error") == (closed["code"], closed["outcome"])
    assert "ValueError" == failure(server, trace_id)["error_type"]


def websocket_closed(server: Service, trace_id: str) -> Line:
    def look() -> Line | None:
        return next((line for line in server.lines(trace_id) if line.get("event") == "websocket.closed"), None)

    return wait_for(look, "the line")


def open_websocket(server: Service, trace_id: str, text: str) -> list[Event]:
    """Open a websocket, send `text`, and return the events until the server closes it."""
    protocol, events = WSConnection(ConnectionType.CLIENT), list[Event]()
    with connect(server) as client:
        headers = [(b"x-request-id", trace_id.encode())]
        client.sendall(protocol.send(Request(host="x", target="/socket", extra_headers=headers)))
        while not any(isinstance(event, CloseConnection) for event in events):
            received = client.recv(65536)
            protocol.receive_data(received or None)
            events += protocol.events()
            if any(isinstance(event, AcceptConnection) for event in events) and text:
                client.sendall(protocol.send(TextMessage(text)))
                text = ""
        return events


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sync/key", 200), ("/raise", 500), ("/nothing", 404), ("/items/x", 422),
        ("/starlette/raise", 500), ("/starlette/nothing", 404), ("/starlette/redirect", 307),
        ("/asgi/raise", 500), ("/asgi/no-response", 500), ("/asgi/ok", 200),
    ],
)  # fmt: skip
def test_every_response_has_the_trace_id_once(server: Service, path: str, status: int) -> None:
    """Also the responses of the framework and of the middleware itself, and if the application sets the header."""
    trace_id = new_trace_id()
    response = server.client.get(path, headers={"X-Request-ID": trace_id})

    assert status == response.status_code == server.finished(trace_id)["status"]
    assert [trace_id] == response.headers.get_list("x-trace-id")


@pytest.mark.parametrize("path", ["/asgi/headers-only", "/asgi/headers-then-raise"])
def test_an_incomplete_response_is_a_failure(server: Service, path: str) -> None:
    """The client cannot use it, although its status is 200."""
    trace_id = get(server, path)

    assert (200, "server_error") == (server.finished(trace_id)["status"], server.finished(trace_id)["outcome"])
    assert trace_id == failure(server, trace_id)["trace_id"]


def test_random_requests_create_no_series_and_need_no_memory(server: Service, processes: Processes) -> None:
    """2,500 random paths, methods, hosts and ids: all new series have the method `OTHER` and the route `unmatched`."""
    process = psutil.Process(processes.pid(server.name))
    generator = random.Random(1)  # noqa: S311 - the same requests each time
    send_random_requests(server, generator, 500)
    before, memory = request_series(server), process.memory_info().rss
    send_random_requests(server, generator, 2_500)

    assert {("OTHER", "unmatched")} >= {labels[:2] for labels in request_series(server) - before}
    assert process.memory_info().rss - memory < 5_000_000


def send_random_requests(server: Service, generator: random.Random, number: int) -> None:
    """Send requests over one connection, 50 at a time."""

    def word(letters: str = string.ascii_letters + string.digits) -> str:
        return "".join(generator.choices(letters, k=generator.randint(3, 12)))

    def request() -> bytes:
        # httptools refuses unknown methods.
        known = ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "PURGE"]
        method = word(string.ascii_uppercase) if "h11" in server.name else generator.choice(known)
        path = generator.choice([f"/{word()}/{word()}", f"/sync/{word()}", f"/echo/{word()}?{word()}={word()}"])
        return f"{method} {path} HTTP/1.1\r\nHost: {word()}\r\nX-Request-ID: {word()}\r\n\r\n".encode()

    with connect(server) as client:
        for _ in range(number // 50):
            client.sendall(b"".join(request() for _ in range(50)))
            responses = b""
            while responses.count(b"HTTP/1.1 ") < 50:
                received = client.recv(1_000_000)
                assert received, "the server closed the connection"
                responses += received


def request_series(server: Service) -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels[label] for label in ("method", "route", "status"))
        for sample in server.samples()
        if sample.name == "http_request_duration_seconds_count"
    }


CONNECTIONS, REQUESTS, PIPELINES = 50, 40, 20


def test_ids_of_concurrent_requests_do_not_mix(server: Service) -> None:
    """2,000 requests over 50 connections, and 20 pipelines: each line has the ids of the request that wrote it.

    The lines are written by the request, threads, tasks and background tasks. Some bodies are so large that the server
    has to pause reading.
    """
    asyncio.run(send_concurrent_requests(server))
    echoes, syncs = CONNECTIONS * REQUESTS // 4 + PIPELINES, CONNECTIONS * REQUESTS * 3 // 4 + PIPELINES

    def look() -> list[Line]:
        lines = [line for line in server.lines() if str(line.get("key")).startswith(("echo-", "sync-"))]
        return lines if len(lines) == 5 * echoes + 2 * syncs else []

    lines = wait_for(look, "all lines", seconds=60, pause=0.5)
    ids = {line["key"]: (line["trace_id"], line["span_id"]) for line in lines if "event" in line}
    others = [line for line in lines if "event" not in line]
    assert echoes + syncs == len(ids) == len(set(ids.values()))
    assert [] == [line for line in others if (line["trace_id"], line["span_id"]) != ids[line["key"]]]
    per_key = Counter(line["key"] for line in others)
    assert {4} == {per_key[key] for key in ids if key.startswith("echo-")}
    assert {1} == {per_key[key] for key in ids if key.startswith("sync-")}


async def send_concurrent_requests(server: Service) -> None:
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx2.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:

        async def send_requests(connection: int) -> None:
            for number in range(REQUESTS):
                key = f"{connection}-{number}"
                if number % 4:
                    await client.get(f"/sync/sync-{key}")
                else:
                    body = b"x" * (100_000 if number % 8 else 10)
                    assert str(len(body)) == (await client.post(f"/echo/echo-{key}", content=body)).text

        await asyncio.gather(*(send_requests(number) for number in range(CONNECTIONS)), send_pipelines(server))


async def send_pipelines(server: Service) -> None:
    """Send a large body and the next request at once, so that the second request arrives during the first one."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    body = b"x" * 65_537
    for number in range(PIPELINES):
        reader, writer = await asyncio.open_connection(host, int(port))
        first = f"POST /echo/echo-pipeline-{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        second = f"GET /sync/sync-pipeline-{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        writer.write(first.encode() + body + second.encode())
        responses = await reader.read()
        assert 2 == responses.count(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
