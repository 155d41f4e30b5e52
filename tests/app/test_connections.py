"""Hostile clients next to normal requests: memory stays bounded, connections end, and each refusal is reported."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.app.test_limits import MIB, WITHOUT_HTTPTOOLS, peak_memory
from tests.emitted import Line
from tests.processes import Processes
from tests.services import Service, running
from tests.waiting import wait_for

CLIENT_TIMEOUT = 2
HEAD = b"POST /charges HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ORDER = HEAD.replace(b"/charges", b"/orders")
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST_PROBE = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"  # a 405
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


@pytest.fixture(scope="module", params=["httptools", "h11"])
def attacked(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Service]:
    """Run a service with each HTTP parser and a short time-out."""
    program = ("-m", "app") if request.param == "httptools" else WITHOUT_HTTPTOOLS
    settings = {"CLIENT_TIMEOUT": str(CLIENT_TIMEOUT)}
    with running(processes, "payments", settings, f"attacked-{request.param}", program) as service:
        yield service


WITH_64_FILES = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
runpy.run_module("app", run_name="__main__")
"""


def connect(service: Service) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what a client does not read stays at the service
    client.settimeout(10)
    client.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
    return client


def read_to_end(client: socket.socket) -> bytes:
    """Return what a service sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def closed(service: Service, reason: str) -> float:
    """Return how many connections were closed for a reason."""
    return next(
        sample.value
        for sample in service.samples()
        if sample.name == "http_connections_closed_total" and sample.labels["reason"] == reason
    )


def reports(service: Service, reason: str) -> list[Line]:
    """Return the lines about connections that were closed for a reason."""
    return [
        each for each in service.lines() if (each.get("event"), each.get("reason")) == ("connection.closed", reason)
    ]


def wait_for_next_report(service: Service, reason: str) -> None:
    """Wait until the next connection that is closed for a reason has a line: there is at most one per second."""
    if lines := reports(service, reason):
        last = datetime.fromisoformat(str(lines[-1]["timestamp"])).timestamp()
        wait_for(lambda: time.time() > last + 1.1, "the next second")


def check_response(service: Service, response: bytes, status: int, reason: str) -> None:
    """Check that a response has problem details, and that a line with its trace id has the reason."""
    head, _, body = response.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    line = service.event("connection.closed", trace_id=fields["x-trace-id"])

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert ("application/problem+json", "close") == (fields["content-type"], fields["connection"])
    assert len(body) == int(fields["content-length"])
    assert ("warning", reason) == (line["level"], line["reason"])


def send_invalid_request(service: Service) -> bytes:
    with connect(service) as client:
        client.sendall(b"invalid\r\n\r\n")
        return read_to_end(client)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"x", id="header"),
        pytest.param(b"GET / HTTP/1.1\r\nX", b"x", id="header-name"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"abc:d\r\n", id="many-headers"),
        pytest.param(b"GET /", b"x", id="path"),
        pytest.param(b"GET /?", b"x", id="query"),
        pytest.param(CHUNKED + b"X: ", b"x", id="trailer"),
    ],
)
def test_an_endless_head_is_refused(attacked: Service, processes: Processes, start: bytes, more: bytes) -> None:
    """200 clients send heads without an end: a part of them is read, and other clients are served."""
    process = psutil.Process(processes.pid(attacked.name))
    before, memory = closed(attacked, "head_too_large"), process.memory_info().rss
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(attacked)) for _ in range(200)]
        for client in clients:
            client.sendall(start + more * (48_000 // len(more)))
        assert 200 == attacked.client.get("/readyz").status_code
        peak = process.memory_info().rss
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 * MIB:
                clients[0].sendall(more * 4096)
                sent += len(more) * 4096

    assert sent < 8 * MIB
    assert before + 1 <= closed(attacked, "head_too_large")
    assert peak - memory < 64 * MIB


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"GET /"], ids=["header", "path"])
def test_an_endless_head_gets_a_431(attacked: Service, start: bytes) -> None:
    """Before it is complete."""
    wait_for_next_report(attacked, "head_too_large")
    with connect(attacked) as client:
        client.sendall(start)
        for _ in range(8):
            client.sendall(b"x" * 10_000)
        check_response(attacked, read_to_end(client), 431, "head_too_large")


def test_a_path_counts_like_headers(attacked: Service) -> None:
    """A complete head with a long path gets a 431, too."""
    with connect(attacked) as client:
        client.sendall(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 33_000))
        assert read_to_end(client).startswith(b"HTTP/1.1 431 ")


def test_an_invalid_request_gets_a_400(attacked: Service) -> None:
    """With a trace id."""
    check_response(attacked, send_invalid_request(attacked), 400, "invalid_request")


def test_clients_that_connect_again_and_again_do_not_fill_the_log(attacked: Service) -> None:
    """Of the connections that are closed for one reason, one per second has a line, with the number of the others."""
    wait_for_next_report(attacked, "invalid_request")
    for _ in range(300):
        send_invalid_request(attacked)
    wait_for_next_report(attacked, "invalid_request")
    send_invalid_request(attacked)
    lines = reports(attacked, "invalid_request")
    times = [datetime.fromisoformat(str(line["timestamp"])) for line in lines]

    assert closed(attacked, "invalid_request") == len(lines) + sum(line["suppressed"] for line in lines)
    assert all(later - earlier > timedelta(seconds=0.9) for earlier, later in pairwise(times))
    assert not [line for line in attacked.lines() if line["logger"] == "uvicorn.error"]


@pytest.mark.parametrize(
    ("first", "half"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"", b"GET /healthz HT", id="half-a-head"),
        pytest.param(REQUEST, b"GET /healthz HT", id="half-a-head-after-a-request"),
        pytest.param(REQUEST + b"GET /healthz HT", b"", id="half-a-head-with-a-request"),
        pytest.param(POST_PROBE + b"{", b"", id="half-a-body-that-is-not-read"),
    ],
)
def test_a_request_has_to_arrive_in_time(attacked: Service, first: bytes, half: bytes) -> None:
    """Otherwise, the response is a 408; also for 200 such clients."""
    before = closed(attacked, "head_timeout")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(attacked)) for _ in range(200)]
        for client in clients:
            client.sendall(first)
        for client in clients:
            received = b"" if first else b"}"
            while not received.endswith(b"}"):
                received += client.recv(4096)
            client.sendall(half)
        responses = [read_to_end(client) for client in clients]

    assert before + 200 == closed(attacked, "head_timeout")
    check_response(attacked, responses[0], 408, "head_timeout")


def test_a_body_has_to_arrive_in_time(attacked: Service) -> None:
    """Also if a byte arrives now and then: the response is a 408 of the route."""
    with connect(attacked) as client:
        client.sendall(HEAD + b"Content-Length: 60000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                client.sendall(b" ")
                time.sleep(0.1)
        response = read_to_end(client)
    trace_id = re.findall(rb"x-trace-id: (\S+)", response)[0].decode()
    line = attacked.finished(trace_id)

    assert response.startswith(b"HTTP/1.1 408 ")
    assert ("/charges", 408, "client_error") == (line["route"], line["status"], line["outcome"])
    assert line["duration_ms"] > 0.9 * CLIENT_TIMEOUT * 1000


def test_the_rest_of_a_body_has_to_arrive_in_time(attacked: Service) -> None:
    """The body of a request that has been answered."""
    before = closed(attacked, "head_timeout")
    with connect(attacked) as client:
        client.sendall(POST_PROBE)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + 30:
                client.sendall(b" ")
                time.sleep(0.1)
    assert time.monotonic() < started + 30
    assert before + 1 == closed(attacked, "head_timeout")


LARGE_RESPONSE_APP = """
from app.observability import ObservabilityMiddleware, configure_logging
from app.server import run
from app.settings import ServerSettings

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b"ready" if scope["path"] == "/readyz" else bytes(8 * 2**20)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

configure_logging("tested")
run(ObservabilityMiddleware(app), ServerSettings())
"""


def test_a_response_has_to_be_read_in_time(processes: Processes) -> None:
    """A client does not read: its connection is closed, and the memory of the response is free."""
    program = ("-c", LARGE_RESPONSE_APP)
    with (
        running(processes, "tested", {"CLIENT_TIMEOUT": "1"}, "unread", program) as service,
        connect(service) as client,
    ):
        process = psutil.Process(processes.pid(service.name))
        memory = process.memory_info().rss
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = service.event("connection.closed")

        assert "response_timeout" == line["reason"]
        assert process.memory_info().rss - memory < 4 * MIB
        assert len(read_to_end(client)) < 8 * MIB


SCOPE_APP = """
from app.observability import ObservabilityMiddleware, configure_logging
from app.server import run
from app.settings import ServerSettings

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = f"{scope['scheme']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

configure_logging("tested")
run(ObservabilityMiddleware(app), ServerSettings())
"""


def test_a_client_cannot_choose_its_address(processes: Processes) -> None:
    """Nor the scheme: the headers of proxies are not trusted, because every client can send them."""
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    with running(processes, "tested", {}, "forwarded", ("-c", SCOPE_APP)) as service:
        assert "http 127.0.0.1" == service.client.get("/", headers=headers).text


def test_pipelined_requests_have_a_limit(attacked: Service, processes: Processes) -> None:
    """A client that sends 20,000 requests at once."""
    process = psutil.Process(processes.pid(attacked.name))
    memory = process.memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connect(attacked))
            client.settimeout(0)
            client.send(b"GET / HTTP/1.1\r\n\r\n" * 20_000)
        assert 200 == attacked.client.get("/readyz").status_code
    assert process.memory_info().rss - memory < 32 * MIB


WAITING_APP = """
import asyncio
import sys

if sys.argv[1:] == ["h11"]:
    sys.modules["httptools"] = None

from fastapi import FastAPI, Request
from app.limits import LimitsMiddleware
from app.observability import ObservabilityMiddleware, configure_logging
from app.server import run
from app.settings import ServerSettings

api = FastAPI()

@api.get("/readyz")
async def readyz(): pass

@api.post("/")
async def wait_for_client_to_leave(request: Request):
    await request.body()
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)

settings = ServerSettings()
configure_logging("tested")
run(ObservabilityMiddleware(LimitsMiddleware(api, settings)), settings)
"""


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size + b" " * size


@pytest.fixture(scope="module", params=["httptools", "h11"])
def waiting(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Service]:
    """Run a service whose requests last until their client leaves."""
    with running(processes, request.param, {}, f"waiting-{request.param}", ("-c", WAITING_APP)) as service:
        yield service


def test_large_bodies_of_clients_that_left_are_dropped(waiting: Service) -> None:
    """While such a request waits for its turn, its client leaves: the request ends; also with another one behind it."""
    with connect(waiting) as first:
        first.sendall(post(8192))
        for number in range(10):
            with connect(waiting) as client:
                client.sendall(post(8192) * (1 + number % 2))
                assert 200 == waiting.client.get("/readyz").status_code  # the server has read what was sent before
        wait_for(lambda: len(left(waiting)) >= 10, "the end of their requests")


def left(service: Service) -> list[Line]:
    return [line for line in service.lines() if line.get("outcome") == "client_disconnect"]


def test_pipelined_bodies_have_a_limit(waiting: Service) -> None:
    """While a client waits for a response, it sends more than 64 KiB of further requests."""
    with connect(waiting) as client:
        client.sendall(post(2))
        with contextlib.suppress(ConnectionError):
            client.sendall(post(30_000) * 4)
        assert b"" == read_to_end(client)
    assert "too_many_requests" == waiting.event("connection.closed")["reason"]


def test_half_sent_bodies_fit_into_memory(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """200 clients send all of the longest possible body but its last byte; then, they send that, too."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/half.db", "PAYMENTS_URL": payments.url}
    body = b"[" + b"{}," * 21_844 + b"{}]"
    with running(processes, "api", settings, "half") as service, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(200)]
        for client in clients:
            client.sendall(ORDER + b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:-1]))
        assert 200 == service.client.get("/readyz").status_code
        for client in clients:
            client.sendall(body[-1:])
        assert 200 == service.client.get("/readyz").status_code
        responses = [client.recv(4096) for client in clients]
        memory = peak_memory(processes, service)

    assert all(response.startswith(b"HTTP/1.1 422 ") for response in responses)
    assert memory < 160 * MIB  # the container has 256 MiB


def test_idle_connections_make_room_for_others(processes: Processes) -> None:
    """With 20 connections, 200 idle clients do not keep another one from being served."""
    with running(processes, "payments", {"MAX_CONNECTIONS": "20"}, "idle") as service, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(200)]
        for _ in range(50):
            assert 200 == httpx2.get(f"{service.url}/readyz").status_code
        assert b"" == read_to_end(clients[0])
        assert 180 <= closed(service, "too_many_connections")
        line = service.event("connection.closed")

    assert ("warning", "too_many_connections") == (line["level"], line["reason"])


def test_connections_in_use_have_a_limit(processes: Processes) -> None:
    """If every connection waits for a response, a further one is refused with a 503."""
    with (
        running(processes, "payments", {"MAX_CONNECTIONS": "20"}, "in-use") as service,
        contextlib.ExitStack() as stack,
    ):
        for client in [stack.enter_context(connect(service)) for _ in range(20)]:
            client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
        check_response(service, read_to_end(stack.enter_context(connect(service))), 503, "too_many_connections")


def test_files_of_the_process_limit_its_connections(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """With 64 files, 200 clients do not use all of them, and other clients are served."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/few.db", "PAYMENTS_URL": payments.url}
    order = {"user_id": 1, "sku": "mug", "quantity": 1}
    with running(processes, "api", settings, "few-files", ("-c", WITH_64_FILES)) as service:
        process = psutil.Process(processes.pid(service.name))
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(connect(service))
            for _ in range(50):
                assert 201 == httpx2.post(f"{service.url}/orders", json=order).status_code
            assert process.num_fds() < 64
        assert 180 <= closed(service, "too_many_connections")
        (line,) = (line for line in service.lines() if line["logger"] == "app.server")

    assert "Only 8 connections are accepted, because the process may open 64 files" == line["message"]
