"""Limits of headers, bodies and time series; a refused request gets problem details, and is logged and observed."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.payments.main import create_app
from app.settings import PaymentsSettings
from tests.app.faults import FAULT_HEADERS
from tests.processes import Processes
from tests.services import Service, running

MIB = 2**20
# uvicorn uses h11 if httptools is not installed.
WITHOUT_HTTPTOOLS = (
    "-c", "import runpy, sys; sys.modules['httptools'] = None; runpy.run_module('app', run_name='__main__')"
)  # fmt: skip


@pytest.fixture(scope="module", params=[("api", "httptools"), ("api", "h11"), ("payments", "httptools")], ids="-".join)
def limited(
    request: pytest.FixtureRequest, payments: Service, processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Run both services, and one of them with each HTTP parser."""
    service, parser = request.param
    url = f"sqlite:///{tmp_path_factory.mktemp('limited')}/tested.db"
    settings = {"DATABASE_URL": url, "PAYMENTS_URL": payments.url, "FAULTS": "on", "MAX_BODY_BYTES": str(MIB)}
    program = ("-m", "app") if parser == "httptools" else WITHOUT_HTTPTOOLS
    with running(processes, service, settings, f"limited-{service}-{parser}", program) as running_service:
        yield running_service


def paths(service: Service) -> list[str]:
    """Return a route that reads the body, one that does not, and an unknown path."""
    return ["/orders" if "api" in service.name else "/charges", "/healthz", "/nothing"]


def body(size: int) -> Iterator[bytes]:
    while size > 0:
        yield b" " * min(size, 64 * 1024)
        size -= 64 * 1024


def peak_memory(processes: Processes, service: Service) -> int:
    """Return the peak memory of a service in bytes; 0 where the system does not offer it."""
    status = Path(f"/proc/{processes.pid(service.name)}/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def observations(service: Service, status: int) -> float:
    return sum(
        sample.value
        for sample in service.samples()
        if sample.name == "http_request_duration_seconds_count" and sample.labels["status"] == str(status)
    )


def check_refusal(service: Service, response: httpx2.Response, status: int) -> None:
    """Check that it has problem details with the trace id, is logged once, and closes the connection."""
    (trace_id,) = response.headers.get_list("x-trace-id")
    line = service.finished(trace_id)
    events = [line.get("event") for line in service.lines(trace_id)]

    assert (status, status, trace_id) == (response.status_code, response.json()["status"], response.json()["trace_id"])
    assert ["application/problem+json"] == response.headers.get_list("content-type")
    assert ["close"] == response.headers.get_list("connection")
    assert (status, "client_error") == (line["status"], line["outcome"])
    assert 1 == events.count("request.finished")
    assert 0 == events.count("request.failed")


def test_headers_have_a_limit(limited: Service) -> None:
    """On every route, 32 KiB of names and values are accepted, and more are refused."""
    before = observations(limited, 431)
    headers = {f"x-{number}": "x" * 995 for number in range(10, 40)}  # 30 of 999 bytes

    for path in paths(limited):
        assert 431 != limited.client.post(path, headers=headers).status_code
        check_refusal(limited, limited.client.post(path, headers={**headers, "x-more": "x" * 3000}), 431)
    assert before + 3 == observations(limited, 431)


def test_a_body_has_a_limit(limited: Service, processes: Processes) -> None:
    """1 MiB is accepted. More is refused on every route, and is not kept in memory."""
    before, peak = observations(limited, 413), peak_memory(processes, limited)
    json = {"Content-Type": "application/json"}

    for path in paths(limited):
        assert 413 != limited.client.post(path, content=b" " * MIB, headers=json).status_code
        for size in (MIB + 1, 64 * MIB):
            headers = {**json, "Content-Length": str(size)}
            check_refusal(limited, limited.client.post(path, content=body(size), headers=headers), 413)
    for size in (MIB + 1, 64 * MIB):
        chunked = limited.client.post(paths(limited)[0], content=body(size), headers=json)
        check_refusal(limited, chunked, 413)
        assert limited.finished(chunked.headers["x-trace-id"])["route"] == paths(limited)[0]
    assert before + 8 == observations(limited, 413)
    assert peak_memory(processes, limited) - peak < 16 * MIB


def test_a_body_that_no_route_reads_is_not_kept_in_memory(limited: Service, processes: Processes) -> None:
    """A chunked body to an unknown route is discarded."""
    peak = peak_memory(processes, limited)
    response = limited.client.post("/nothing", content=body(64 * MIB))

    assert 404 == response.status_code
    assert peak_memory(processes, limited) - peak < 16 * MIB


def test_expect_100_continue(limited: Service) -> None:
    """A client that waits for `100 Continue` is refused before it sends the body."""
    path, port = paths(limited)[0], int(limited.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {10 * MIB}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        response = b"".join(iter(lambda: client.recv(4096), b""))

    assert response.startswith(b"HTTP/1.1 413 ")
    assert 1 == response.count(b"HTTP/1.1")
    assert 1 == response.lower().count(b"x-trace-id: ")


@pytest.mark.anyio
async def test_both_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX_HEADER_BYTES and MAX_BODY_BYTES."""
    monkeypatch.setenv("MAX_HEADER_BYTES", "600")
    monkeypatch.setenv("MAX_BODY_BYTES", "50")
    transport = httpx2.ASGITransport(create_app(PaymentsSettings()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        charge = {"order_id": 1, "amount_cents": 1}
        responses = [
            await client.get("/healthz", headers={"x": "x" * 600}),
            await client.get("/healthz", headers={"x" * 600: "x"}),
            await client.post("/charges", json={**charge, "more": "x" * 30}),
            await client.post("/charges", json=charge),
        ]

    assert [431, 431, 413, 201] == [response.status_code for response in responses]


def test_clients_cannot_create_many_series(limited: Service) -> None:
    """Every method on every path creates far fewer than the 1,500 series that a replica may have."""
    routes = limited.client.get("/openapi.json").json()["paths"]
    for path in [*routes, "/docs", "/users/", "/nothing", "/users/x", "/orders/9"]:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "POST"):
            limited.client.request(method, path.format(user_id=1, order_id=1), headers=FAULT_HEADERS)

    assert len(limited.samples()) < 1000


@pytest.mark.parametrize(
    "invalid",
    [
        pytest.param({f"{number:x}": 0 for number in range(100_000)}, id="unknown-keys"),
        pytest.param({"x" * (MIB - 100): 0}, id="long-key"),
        pytest.param({"user_id": "x" * (MIB - 100)}, id="long-value"),
        pytest.param({"users": ["x"] * 200_000}, id="long-list"),
    ],
)
def test_an_invalid_body_gets_a_short_response(limited: Service, invalid: dict[str, object]) -> None:
    """1 MiB of invalid JSON neither gets a response of many MiB, nor blocks the event loop for seconds."""
    for path in ("/charges",) if "payments" in limited.name else ("/orders", "/users", "/faults"):
        response = limited.client.post(path, json=invalid, headers=FAULT_HEADERS)
        line = limited.finished(response.headers["x-trace-id"])

        assert (422, 422) == (response.status_code, line["status"])
        assert len(response.content) < 4096
        assert line["duration_ms"] < 500
