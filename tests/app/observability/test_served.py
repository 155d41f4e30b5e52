"""What the room promises behind a real server, on both of uvicorn's parsers and both event loops."""

import asyncio
import contextlib
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import httpx2
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from tests.emitted import Line
from tests.processes import Processes, free_port
from tests.services import Service
from tests.waiting import eventually

names = count()


@contextlib.contextmanager
def served(processes: Processes, kind: str, http: str = "httptools", loop: str = "uvloop") -> Iterator[Service]:
    """Run one of the applications of `served.py`, which is there to be observed."""
    name, port = f"served-{kind}-{next(names)}", free_port()
    url = f"http://127.0.0.1:{port}"
    module = "tests.app.observability.served"
    processes.start(name, [sys.executable, "-m", module, kind, str(port), http, loop], {})
    try:
        processes.answers(name, f"{url}/nothing", status=404 if kind != "raw" else 200)
        with httpx2.Client(base_url=url, timeout=30) as client:
            yield Service(name, url, processes.output(name), client)
    finally:
        processes.stop(name)


@pytest.fixture(
    scope="module", params=[("h11", "asyncio"), ("httptools", "uvloop"), ("httptools", "asyncio")], ids="-".join
)
def server(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Service]:
    """Serve the FastAPI one."""
    with served(processes, "fastapi", *request.param) as service:
        yield service
    assert "" == processes.errors(service.name).read_text()
    assert "hunter2" not in service.output.read_text()


def connect(server: Service) -> contextlib.closing[socket.socket]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return contextlib.closing(socket.create_connection((host, int(port)), timeout=30))


def failures(server: Service, trace_id: str) -> list[Line]:
    return [line for line in server.lines(trace_id) if line.get("event") == "request.failed"]


def failure(server: Service, trace_id: str) -> Line:
    """Wait for the one failure, which may be told after the response."""
    (line,) = eventually(lambda: failures(server, trace_id), f"the failure of {trace_id}")
    return line


def counted(server: Service, **labels: str) -> float:
    wanted = labels.items()
    samples = [sample for sample in server.samples() if sample.name == "http_request_duration_seconds_count"]
    return sum(sample.value for sample in samples if wanted <= sample.labels.items())


def test_a_client_that_leaves_a_stream_is_seen(server: Service) -> None:
    """Its request is 499 and `client_disconnect`, in the line and in the metric."""
    trace_id = f"left{next(names)}"
    before = counted(server, route="/stream", status="499")
    with connect(server) as client:
        client.sendall(f"GET /stream?seconds=0.4 HTTP/1.1\r\nHost: x\r\nX-Request-ID: {trace_id}\r\n\r\n".encode())
        client.recv(1000)
    line = server.finished(trace_id)

    assert (499, "client_disconnect") == (line["status"], line["outcome"])
    assert before + 1 == counted(server, route="/stream", status="499")
    assert not failures(server, trace_id)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure(server: Service) -> None:
    """Starlette raises its own exception then: it is 499, and nothing tells it as an error, uvicorn neither."""
    trace_id = f"left{next(names)}"
    before = _told_by_uvicorn(server)
    with connect(server) as client:
        client.sendall(
            f"POST /echo/half HTTP/1.1\r\nHost: x\r\nX-Request-ID: {trace_id}\r\nContent-Length: 9\r\n\r\nab".encode()
        )
        time.sleep(0.1)  # so that the body is being read
    line = server.finished(trace_id)

    assert (499, "client_disconnect") == (line["status"], line["outcome"])
    assert not failures(server, trace_id)
    server.client.get("/sync/after")
    assert before == _told_by_uvicorn(server)


def _told_by_uvicorn(server: Service) -> int:
    return sum(line["logger"].startswith("uvicorn") for line in server.lines())


def test_a_client_that_stays_is_not_taken_for_one_that_left(server: Service) -> None:
    """Asking the server whether it is there loses nothing of what it sends."""
    body = bytes(range(256)) * 1200
    response = server.client.post("/echo/stays", content=body, headers={"X-Request-ID": "stays"})

    assert "307200" == response.text
    assert (200, "ok") == (server.finished("stays")["status"], server.finished("stays")["outcome"])


def test_a_client_that_waits_for_a_word_is_not_told_to_go_on(server: Service) -> None:
    """`Expect: 100-continue`: asking whether it is there would ask for its body, which nobody wants."""
    head = "POST /slow?seconds=0.1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with connect(server) as client:
        client.sendall(head.encode())
        answer = client.recv(1000)

    assert answer.startswith(b"HTTP/1.1 200")


def test_a_stream_that_breaks_is_one_failure(server: Service) -> None:
    """The response had begun: its status stays, its outcome does not, and there is one line and one observation."""
    before = counted(server, route="/stream", status="200")
    with pytest.raises(httpx2.HTTPError):
        server.client.get("/stream", params={"breaks": True}, headers={"X-Request-ID": "broke"})
    line = server.finished("broke")

    assert (200, "server_error") == (line["status"], line["outcome"])
    assert "ValueError" == failure(server, "broke")["error_type"]
    assert before + 1 == counted(server, route="/stream", status="200")


def test_a_failure_in_the_background_is_told_and_changes_nothing(server: Service) -> None:
    """The response is done: the request was fine and fast, and its failure has its id."""
    server.client.get("/background", headers={"X-Request-ID": "later"})
    failed, line = failure(server, "later"), server.finished("later")

    assert ("ok", "ValueError") == (line["outcome"], failed["error_type"])
    assert line["duration_ms"] < 300


def test_a_task_that_nobody_awaits_is_told_without_its_text(server: Service) -> None:
    """The event loop would print its exception, words included; from Python 3.12 on, the line has the request's id."""
    trace_id = server.client.get("/forgotten").headers["x-trace-id"]
    line = eventually(
        lambda: next((line for line in server.lines() if "never retrieved" in line["message"]), None), "the line"
    )

    assert ("ValueError", "error") == (line["error_type"], line["level"])
    if sys.version_info >= (3, 12):
        assert trace_id == line["trace_id"]


def test_a_callback_that_fails_is_told_without_its_arguments(server: Service) -> None:
    """The event loop would print those, and the exception's text."""
    server.client.get("/called-back")
    line = eventually(
        lambda: next((line for line in server.lines() if line["message"].startswith("Exception in callback")), None),
        "the line",
    )

    assert ("Exception in callback", "ValueError") == (line["message"], line["error_type"])


@pytest.mark.parametrize(("path", "kind"), [("/raises", "ValueError"), ("/group", "ExceptionGroup")])
def test_an_unhandled_exception_is_one_line(server: Service, path: str, kind: str) -> None:
    """None from uvicorn beside it; of a group, the members are told, too."""
    trace_id = server.client.get(path).headers["x-trace-id"]
    failed = failure(server, trace_id)
    errors = [line for line in server.lines() if line["level"] == "error" and path in (line.get("route"), None)]

    assert kind == failed["error_type"]
    assert path != "/group" or "with KeyError" in failed["stack"]
    assert not [line for line in errors if line["logger"].startswith("uvicorn")]


def test_a_cancelled_request_is_told(server: Service) -> None:
    """Nobody failed, and nobody was answered: 499 and `cancelled`, and no error of uvicorn's beside it."""
    before = _told_by_uvicorn(server)
    with contextlib.suppress(httpx2.HTTPError):
        server.client.get("/cancelled", headers={"X-Request-ID": "stopped"})
    line = server.finished("stopped")

    assert (499, "cancelled") == (line["status"], line["outcome"])
    assert not failures(server, "stopped")
    server.client.get("/sync/after")
    assert before == _told_by_uvicorn(server)


def test_a_blocked_event_loop_is_seen(server: Service) -> None:
    """The request that blocks it has the time in its line, and the histogram has it once."""
    server.client.get("/sync/warm")
    before = _lag_above_half_a_second(server)
    server.client.get("/block", headers={"X-Request-ID": "culprit"})

    assert server.finished("culprit")["loop_lag_ms"] > 900
    assert before + 1 == _lag_above_half_a_second(server)


def _lag_above_half_a_second(server: Service) -> float:
    buckets = {
        sample.labels["le"]: sample.value
        for sample in server.samples()
        if sample.name == "event_loop_lag_seconds_bucket"
    }
    return buckets["+Inf"] - buckets["0.5"]


def test_a_websocket_has_the_id_and_one_line(server: Service) -> None:
    """In its handshake, in the lines on its way, and in the one at its end; it is no request and no latency."""
    trace_id = f"socket{next(names)}"
    before = counted(server)
    events = _talk(server, trace_id, "hello")

    (accepted,) = [event for event in events if isinstance(event, AcceptConnection)]
    assert [trace_id.encode()] == [value for name, value in accepted.extra_headers if name == b"x-trace-id"]
    closed = eventually(lambda: _closed(server, trace_id), "the line")
    assert ("/socket", 1000, "ok") == (closed["route"], closed["code"], closed["outcome"])
    assert {"Greeted", "WebSocket closed"} == {line["message"] for line in server.lines(trace_id)}
    assert before == counted(server)


def test_a_websocket_that_fails_is_told(server: Service) -> None:
    """Its exception is one failure with its id, and its end says so."""
    trace_id = f"socket{next(names)}"
    _talk(server, trace_id, "break")

    closed = eventually(lambda: _closed(server, trace_id), "the line")
    assert (1011, "server_error") == (closed["code"], closed["outcome"])
    assert "ValueError" == failure(server, trace_id)["error_type"]


def _closed(server: Service, trace_id: str) -> Line | None:
    return next((line for line in server.lines(trace_id) if line.get("event") == "websocket.closed"), None)


def _talk(server: Service, trace_id: str, text: str) -> list[Event]:
    """Open a websocket, say one thing, and return all that came back until it was closed."""
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
    ("kind", "path", "status"),
    [
        ("fastapi", "/raises", 500), ("fastapi", "/nothing", 404), ("fastapi", "/slow?seconds=x", 422),
        ("starlette", "/raises", 500), ("starlette", "/nothing", 404), ("starlette", "/away", 307),
        ("raw", "/raises", 500), ("raw", "/silent", 500), ("raw", "/ok", 200),
    ],
)  # fmt: skip
def test_every_response_has_the_id_once(processes: Processes, kind: str, path: str, status: int) -> None:
    """Whoever made it; with one line and one observation, and one failure where it is one."""
    with served(processes, kind) as service:
        response = service.client.get(path, headers={"X-Request-ID": "asked"})
        line = service.finished("asked")

        assert status == response.status_code == line["status"]
        assert ["asked"] == response.headers.get_list("x-trace-id")
        assert status < 500 or failure(service, "asked")["route"] in {path, "unmatched"}
        assert not [line for line in service.lines() if line["logger"].startswith("uvicorn")]


@pytest.mark.parametrize("path", ["/half", "/breaks"])
def test_half_an_answer_is_a_failure(processes: Processes, path: str) -> None:
    """The client got no whole response, and the line does not say `ok`."""
    with served(processes, "raw") as service:
        with pytest.raises(httpx2.HTTPError):
            service.client.get(path, headers={"X-Request-ID": "half"})

        assert "server_error" == service.finished("half")["outcome"]
        assert "half" == failure(service, "half")["trace_id"]


def test_no_request_takes_the_id_of_another(server: Service) -> None:
    """10,000 requests over 50 connections that are kept: each line's span is the one of the request it tells of.

    With pipelining, with bodies that make the server pause, from threads, tasks and the background; and nothing that a
    request sets in its context reaches the next one.
    """
    asyncio.run(_crowd(server))
    finished = 10_000 + 2 * 50
    lines = eventually(lambda: _crowd_lines(server, finished), "all lines", seconds=60)

    spans = {line["nonce"]: (line["span_id"], line["trace_id"]) for line in lines if "event" in line}
    said = [line for line in lines if "event" not in line]
    assert finished == len(spans)
    assert [] == [line for line in said if (line["span_id"], line["trace_id"]) != spans[line["nonce"]]]
    assert {"nobody"} == {line["inherited"] for line in said}
    told = Counter(line["nonce"] for line in said)
    assert {4} == {told[nonce] for nonce in spans if nonce.startswith("echo")}
    assert {1} == {told[nonce] for nonce in spans if nonce.startswith("sync")}


def _crowd_lines(server: Service, finished: int) -> list[Line]:
    lines = [line for line in server.lines() if str(line.get("nonce")).partition("-")[2]]
    done = sum("event" in line for line in lines) == finished
    echoes = sum("event" in line and line["nonce"].startswith("echo") for line in lines)
    return lines if done and len(lines) == finished + 4 * echoes + (finished - echoes) else []


async def _crowd(server: Service) -> None:
    limits = httpx2.Limits(max_connections=50, max_keepalive_connections=50)
    async with httpx2.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:

        async def visitor(number: int) -> None:
            for turn in range(200):
                nonce = f"-{number}-{turn}"
                if turn % 4:
                    await client.get(f"/sync/sync{nonce}")
                else:
                    await client.post(f"/echo/echo{nonce}", content=b"x" * (100_000 if turn % 8 else 10))

        await asyncio.gather(*(visitor(number) for number in range(50)), _pipelines(server))


async def _pipelines(server: Service) -> None:
    """Send a large body and the next request in one go, 50 times: the second begins while the first is worked on."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    for number in range(50):
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b"y" * 65_537
        first = (
            f"POST /echo/echo-pipe-{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        second = f"GET /sync/sync-pipe-{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        writer.write(first + second)
        answers = await reader.read()
        assert 2 == answers.count(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
