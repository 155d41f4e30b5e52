"""`python -m app`: start and stop, also with invalid settings or without a database."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from tests.emitted import Line, parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.waiting import wait_for


def run_service(*arguments: str, settings: Mapping[str, str]) -> tuple[int, list[Line]]:
    """Run a service that cannot start; return its exit code and its lines."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, parse(done.stdout + done.stderr)


@pytest.mark.parametrize("arguments", [["--flag"], ["api", "payments"]], ids=["unknown flag", "two services"])
def test_invalid_arguments_are_logged(arguments: list[str]) -> None:
    """The exit code is 2, and the message is the usage."""
    code, (line,) = run_service(*arguments, settings={})

    assert (2, "critical") == (code, line["level"])
    assert line["message"].startswith("Usage: python -m app")


def test_invalid_settings_are_logged() -> None:
    """The exit code is 2, and the message has the names of all of them, but no values, which may be secrets."""
    settings = {
        "PORT": "80000", "FAULTS": "yes", "LOG_LEVEL": "loud", "DATABASE_TIMEOUT": "0",
        "DATABASE_URL": "mysql://u:hunter2@h/d", "WEB_CONCURRENCY": "4",
    }  # fmt: skip
    code, (line,) = run_service(settings=settings)

    assert (2, "critical") == (code, line["level"])
    assert [] == [name for name in settings if f"{name}: " not in line["message"]]
    assert re.search("WEB_CONCURRENCY: .*metrics of one worker.*replicas", line["message"])
    assert "hunter2" not in line["message"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:s3cret@host:notaport/app",
        "postgresql://app:s3cret@[::1/app",
        " postgresql://app:s3cret@host/app",
        "postgresql://app:with@and:s3cret@host/app",
        "postgresql://app@host/app?port=s3cret",
        "sqlite://app:s3cret@host/app",
        "sqlite:///app.db?timeout=s3cret",
    ],
)
def test_a_malformed_database_url_is_not_logged(url: str) -> None:
    """The exit code is 2, and one line names the variable, but contains no part of its value."""
    code, (line,) = run_service(settings={"DATABASE_URL": url})

    assert (2, "critical") == (code, line["level"])
    assert line["message"].startswith(
        "DATABASE_URL: Value error, should look like postgresql://user:password@host/name"
    )
    assert "s3cret" not in str(line)
    assert "stack" not in line


def test_a_port_in_use_is_logged() -> None:
    """The exit code is 2, and the message has the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, lines = run_service("payments", settings={"PORT": port})

    assert 2 == code
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in lines[-1]["message"]


def test_help_is_text() -> None:
    """All other output is JSON."""
    done = subprocess.run([sys.executable, "-m", "app", "--help"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("Usage: ")


def test_a_service_writes_only_json_lines(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """From start to stop, also for an invalid HTTP request and an unhandled exception; stderr is empty."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url}
    with running(processes, "api", settings, "json-lines") as service:
        service.client.get("/users/1")
        with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as client:
            client.sendall(b"nonsense\r\n\r\n")
            client.recv(1000)
        for database in tmp_path.glob("tested.db*"):
            database.write_bytes(b"nonsense" * 10_000)
        assert service.client.get("/users/2").status_code >= 500

    lines = service.lines()
    assert "" == processes.errors("json-lines").read_text()
    assert {"service.started", "request.finished", "service.stopped"} <= {line.get("event") for line in lines}
    assert {"api"} == {line["service"] for line in lines}
    assert {service.url.removeprefix("http://")} <= {line["instance"] for line in lines}
    (failed,) = [line for line in lines if line.get("event") == "request.failed"]
    # The messages of other libraries may contain what a user sent.
    assert failed.get("error_message") in {None, "The database does not answer."}


def test_shutdown_cancels_requests_after_a_time(processes: Processes) -> None:
    """A request whose body never ends is cancelled 8 s after SIGTERM, and its line has the outcome `cancelled`."""
    with running(processes, "payments", {}, "slow-client") as service:
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with contextlib.closing(socket.create_connection(address)) as client:
            client.sendall(
                b"POST /charges HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: slow\r\nContent-Length: 9\r\n\r\n{"
            )
            wait_for(lambda: _in_flight(service) == 2, "the request to arrive")
            processes.signal("slow-client", signal.SIGTERM)
            started = time.monotonic()
            wait_for(lambda: service.lines()[-1].get("event") == "service.stopped", "the last line")
            took = time.monotonic() - started

    line, last = service.lines("slow")[-1], service.lines()[-1]
    assert took > 7
    assert ("request.finished", 499, "cancelled") == (line["event"], line["status"], line["outcome"])
    assert ("service.stopped", {"499": 1}) == (last["event"], last["totals"]["/charges"])


def _in_flight(service: Service) -> float:
    return next(sample.value for sample in service.samples() if sample.name == "http_requests_in_flight")


CONTEXT_APP = """
from contextvars import ContextVar
from app.observability import ObservabilityMiddleware, configure_logging
from app.server import run
from app.settings import ServerSettings

state = ContextVar("state", default=b"default")

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    found = state.get()
    state.set(b"changed")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(found))]})
    await send({"type": "http.response.body", "body": found})

configure_logging("tested")
run(ObservabilityMiddleware(app), ServerSettings())
"""


def test_requests_on_one_connection_do_not_share_a_context(processes: Processes) -> None:
    """A context variable that one request sets has its default value in the next one, also with pipelining."""
    port = free_port()
    processes.start("context", [sys.executable, "-c", CONTEXT_APP], {"PORT": str(port)})
    processes.wait_until_ready("context", f"http://127.0.0.1:{port}/")
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2
            + b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        response = b"".join(iter(lambda: client.recv(4096), b""))
    processes.stop("context")

    assert 3 == response.count(b"default")
    assert 0 == response.count(b"changed")


def test_a_service_without_tables_is_not_ready(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Another process has locked the database, so that the tables cannot be created."""
    port, file = free_port(), tmp_path / "tested.db"
    url = f"http://127.0.0.1:{port}"
    settings = {"DATABASE_URL": f"sqlite:///{file}", "PAYMENTS_URL": payments.url, "PORT": str(port)}
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN EXCLUSIVE")
        processes.start("without-tables", [sys.executable, "-m", "app"], settings)
        processes.wait_until_ready("without-tables", f"{url}/readyz", status=503)
        checks = httpx2.get(f"{url}/readyz", timeout=30).json()["checks"]
    processes.wait_until_ready("without-tables", f"{url}/readyz")
    processes.stop("without-tables")

    assert "The tables have not been created yet." == checks["tables"]


def test_a_service_waits_for_its_database(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """It starts without a database, but is not ready until there is one."""
    folder = tmp_path / "later"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"DATABASE_URL": f"sqlite:///{folder}/tested.db", "PAYMENTS_URL": payments.url, "PORT": str(port)}
    processes.start("waiting", [sys.executable, "-m", "app"], settings)
    processes.wait_until_ready("waiting", f"{url}/healthz")
    processes.wait_until_ready("waiting", f"{url}/readyz", status=503)
    folder.mkdir()
    processes.wait_until_ready("waiting", f"{url}/readyz")
    processes.stop("waiting")
