"""The output of a service: only JSON lines, also when stdout is broken or the service fails, and no secrets."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.app.faults import FAULT_HEADERS
from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.waiting import eventually


@contextlib.contextmanager
def payments_writing_to(stdout: int, errors: Path) -> Iterator[httpx2.Client]:
    """Run payments with this stdout; check that its stderr stays empty."""
    port = free_port()
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "payments"],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env={**os.environ, "PORT": str(port)},
        )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            eventually(lambda: _responses(client), "payments")
            yield client
    finally:
        process.terminate()
        process.wait(15)
    assert "" == errors.read_text()


def _responses(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.HTTPError:
        return False


def lost_lines(client: httpx2.Client) -> int:
    (value,) = re.findall(r"^log_records_failed_total (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return int(float(value))


def charge(client: httpx2.Client, order: int) -> int:
    return client.post("/charges", json={"order_id": order, "amount_cents": 1}).status_code


def test_a_closed_pipe_does_not_break_requests(tmp_path: Path) -> None:
    """Requests are answered, the lost lines are counted, and nothing is written to stderr."""
    reading, writing = os.pipe()
    with payments_writing_to(writing, tmp_path / "err") as client:
        os.close(writing)
        os.close(reading)
        before = lost_lines(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == lost_lines(client)


def test_a_full_disk_does_not_break_requests(tmp_path: Path) -> None:
    """The same if every write fails."""
    full = os.open("/dev/full", os.O_WRONLY)
    with payments_writing_to(full, tmp_path / "err") as client:
        before = lost_lines(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == lost_lines(client)
    os.close(full)


def test_a_full_pipe_loses_no_lines(tmp_path: Path) -> None:
    """A full pipe blocks the service, as Docker does by default; when it is read again, no line is missing."""
    reading, writing = os.pipe()
    with payments_writing_to(writing, tmp_path / "err") as client:
        os.close(writing)
        done = 0
        with contextlib.suppress(httpx2.TimeoutException):
            while done < 10_000:
                client.post("/charges", json={"order_id": done + 1, "amount_cents": 1}, timeout=2)
                done += 1
        assert done < 10_000
        text = _drain(reading)
        eventually(lambda: _responses(client), "payments to continue")
        assert 0 == lost_lines(client)
    text += _drain(reading)
    os.close(reading)

    charged = {line["order_id"] for line in parse(text) if line.get("event") == "request.finished"}
    assert set(range(1, done + 1)) <= charged


def _drain(reading: int) -> str:
    os.set_blocking(reading, False)
    text = b""
    pause = 0
    while pause < 10:
        try:
            chunk = os.read(reading, 1_000_000)
        except BlockingIOError:
            chunk = b""
        text, pause = text + chunk, 0 if chunk else pause + 1
        time.sleep(0.05)
    return text.decode()


def test_the_last_line_has_the_totals_of_all_requests(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """After SIGTERM a request in flight is answered and counted, and new connections are refused."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, "totals") as service:
        for path in ("/users/1", "/users/1", "/users/999999", "/nothing"):
            service.client.get(path)
        assert [422, 422] == [
            service.client.request(method, "/users?limit=0").status_code for method in ("GET", "POST")
        ]
        fault = {"fault": "slow-query", "delay_ms": 1500, "users": [1]}
        service.client.post("/faults", json=fault, headers=FAULT_HEADERS)
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with contextlib.closing(socket.create_connection(address)) as client:
            client.sendall(b"GET /users/1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\n\r\n")
            eventually(lambda: service.lines("slow"), "the request to arrive")
            processes.signal("totals", signal.SIGTERM)
            eventually(lambda: _refused(address), "new connections to be refused")
            assert b" 200 OK" in client.recv(1000)
        eventually(lambda: service.lines()[-1].get("event") == "service.stopped", "the last line")

    lines = service.lines()
    totals = lines[-1]["totals"]
    counted: dict[str, dict[str, int]] = {}
    for line in (line for line in lines if line.get("event") == "request.finished"):
        of_route = counted.setdefault(line["route"], {})
        of_route[str(line["status"])] = of_route.get(str(line["status"]), 0) + 1
    assert counted == totals
    assert {"200": 3, "404": 1} == totals["/users/{user_id}"]
    assert {"422": 2} == totals["/users"]


def _refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return True
    return False


def test_an_error_on_import_is_a_line(tmp_path: Path) -> None:
    """With the message of the exception, because it ends the start."""
    (tmp_path / "pydantic_settings.py").write_text("raise RuntimeError('broken on import')\n")
    done = subprocess.run(
        [sys.executable, "-m", "app"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    (line,) = parse(done.stdout + done.stderr)
    assert ("critical", "RuntimeError", "broken on import") == (
        line["level"], line["error_type"], line["error_message"],
    )  # fmt: skip
    assert 1 == done.returncode


CANARIES = {name: f"canary-{number}-{name}" for number, name in enumerate(
    ["authorization", "cookie", "api-key", "query", "form", "json", "basic", "path", "validation", "user-agent",
     "referer", "environment"]
)}  # fmt: skip


def test_no_secret_is_found_anywhere(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Twelve secrets, in all places where clients and operators put them, are in no line, metric or response."""
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/tested.db",
        "PAYMENTS_URL": payments.url,
        "SECRET": CANARIES["environment"],
    }
    headers = {
        "Authorization": f"Bearer {CANARIES['authorization']}", "Cookie": f"session={CANARIES['cookie']}",
        "X-Api-Key": CANARIES["api-key"], "User-Agent": CANARIES["user-agent"], "Referer": CANARIES["referer"],
    }  # fmt: skip
    with running(processes, "api", settings, "secrets") as service:
        client = service.client
        basic = httpx2.Client(base_url=service.url, auth=("me", CANARIES["basic"]))
        responses = [
            client.get("/users/1", params={"token": CANARIES["query"]}, headers=headers),
            client.get(f"/users/{CANARIES['path']}", headers=headers),
            client.get(f"/{CANARIES['path']}"),
            client.post("/users", data={"password": CANARIES["form"]}),
            client.post("/users", json={"email": CANARIES["validation"], "name": "x", "password": CANARIES["json"]}),
            basic.get("/orders"),
        ]
        responses.append(client.post("/orders", json={"user_id": 1, "sku": CANARIES["json"]}))
        texts = [response.text for response in responses]
        texts.append(client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text)
        basic.close()
    texts += [processes.output("secrets").read_text(), processes.errors("secrets").read_text()]

    assert [] == [name for name, canary in CANARIES.items() if any(canary in text for text in texts)]


FAILING_LIFESPAN = """
import contextlib, sys
from app.observability import ObservabilityMiddleware, configure_logging
from app.errors import ServiceError
from app.server import run
from app.settings import ServerSettings
from fastapi import FastAPI

@contextlib.asynccontextmanager
async def lifespan(_):
    if sys.argv[1] == "start":
        raise RuntimeError("broken lifespan")
    yield
    raise RuntimeError("broken lifespan")

configure_logging("tested", safe_exceptions=(ServiceError,))
run(ObservabilityMiddleware(FastAPI(lifespan=lifespan)), ServerSettings())
"""


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_an_error_in_the_lifespan_is_one_line(processes: Processes, verb: str) -> None:
    """With the message of the exception. Starlette makes a traceback of it, and uvicorn would print that."""
    name, port = f"cannot-{verb}", free_port()
    processes.start(name, [sys.executable, "-c", FAILING_LIFESPAN, verb], {"PORT": str(port)})
    if verb == "stop":
        processes.answers(name, f"http://127.0.0.1:{port}/", status=404)
        processes.signal(name, signal.SIGTERM)
    processes.wait(name)

    output = processes.output(name).read_text() + processes.errors(name).read_text()
    failures = [line for line in parse(output) if "error_type" in line]
    assert [(f"Service cannot {verb}", "RuntimeError", "broken lifespan")] == [
        (line["message"], line["error_type"], line["error_message"]) for line in failures
    ]
