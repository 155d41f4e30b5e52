"""`python -m app`: from its first line to its last, also when something is wrong."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from app.database import Database
from app.settings import Settings
from app.users.seed import seed_users
from tests.emitted import Line, parse
from tests.postgres import create_database
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.waiting import eventually


def refused(*arguments: str, settings: Mapping[str, str]) -> tuple[int, list[Line]]:
    """Run a service that cannot start; return its exit code and all that it printed, which has to be lines."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, parse(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        pytest.param(["--flag"], {}, "Usage: python -m app", id="bad flag"),
        pytest.param(["api", "payments"], {}, "Usage: python -m app", id="too many"),
        pytest.param([], {"PORT": "80000"}, "PORT: ", id="bad port"),
        pytest.param([], {"FAULTS": "yes", "LOG_LEVEL": "loud"}, "LOG_LEVEL: ", id="bad switches"),
        pytest.param([], {"DATABASE_TIMEOUT": "0"}, "DATABASE_TIMEOUT: ", id="no time"),
        pytest.param([], {"DATABASE_URL": "mysql://u:hunter2@h/d"}, "DATABASE_URL: ", id="bad database"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], settings: dict[str, str], says: str) -> None:
    """Exit code 2, and one line that says what to mend, without the value, which may be a secret."""
    code, (line,) = refused(*arguments, settings=settings)

    assert (2, "critical") == (code, line["level"])
    assert says in line["message"]
    assert "hunter2" not in line["message"]


def test_a_port_in_use_is_one_sentence() -> None:
    """It says which, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, lines = refused("payments", settings={"PORT": port})

    assert 2 == code
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in lines[-1]["message"]


def test_help_is_for_people() -> None:
    """It is the one thing that is printed as text."""
    done = subprocess.run([sys.executable, "-m", "app", "--help"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("Usage: ")


def test_all_that_a_service_prints_is_lines(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """From start to stop: uvicorn's words, a client's nonsense, an unhandled error; nothing on stderr, a last line."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url}
    with running(processes, "api", settings, "printing") as service:
        service.client.get("/users/1")
        with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as nonsense:
            nonsense.sendall(b"nonsense\r\n\r\n")
            nonsense.recv(1000)
        for database in tmp_path.glob("tested.db*"):
            database.write_bytes(b"nonsense" * 10_000)
        assert service.client.get("/users/2").status_code >= 500

    lines = service.lines()
    assert "" == processes.errors("printing").read_text()
    assert {"service.started", "request.finished", "service.stopped"} <= {line.get("event") for line in lines}
    assert {"api"} == {line["service"] for line in lines}
    assert {service.url.removeprefix("http://")} <= {line["instance"] for line in lines}
    assert 1 == sum(line.get("event") == "request.failed" for line in lines)


def test_a_request_in_flight_is_answered_before_the_end(
    payments: Service, processes: Processes, tmp_path: Path
) -> None:
    """SIGTERM lets it finish; its line is written before the last one."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, "stopping") as service:
        fault = {"fault": "slow-query", "delay_ms": 1500}
        service.client.post("/faults", json=fault, headers={"X-Fault-Lab": "tests"})
        with contextlib.closing(socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])))) as client:
            client.sendall(b"GET /users/1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\n\r\n")
            eventually(lambda: service.lines("slow"), "the request to arrive")
            processes.signal("stopping", signal.SIGTERM)
            assert b" 200 OK" in client.recv(1000)
        eventually(lambda: service.lines()[-1].get("event") == "service.stopped", "the end")

    events = [line.get("event") for line in service.lines()]
    assert events.index("request.finished", events.index("fault.started")) < events.index("service.stopped")


def test_three_replicas_prepare_one_database(database_url: str, payments: Service, processes: Processes) -> None:
    """Tables and seed are made once, whoever comes first; nobody fails."""
    sqlite = database_url.startswith("sqlite")
    fresh = database_url.replace("tested.db", "fresh.db") if sqlite else create_database(database_url, "fresh")
    settings = {"DATABASE_URL": fresh, "PAYMENTS_URL": payments.url, "LOG_LEVEL": "info"}
    ports = [free_port() for _ in range(3)]
    names = [f"replica-{port}" for port in ports]
    for name, port in zip(names, ports, strict=True):
        processes.start(name, [sys.executable, "-m", "app"], {**settings, "PORT": str(port)})
    for name, port in zip(names, ports, strict=True):
        processes.answers(name, f"http://127.0.0.1:{port}/readyz")
    totals = {name: processes.output(name).read_text() for name in names}
    for name in names:
        processes.stop(name)

    assert not [line for text in totals.values() for line in parse(text) if line["level"] in {"warning", "error"}]


def test_no_client_makes_many_series(api: Service) -> None:
    """Every method on every path, with and without sense, leaves a page far below the 1,500 series of a replica."""
    paths = [*api.client.get("/openapi.json").json()["paths"], "/docs", "/users/", "/nowhere", "/users/x", "/orders/9"]
    for path in paths:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "POST"):
            api.client.request(method, path.format(user_id=1, order_id=1), headers={"X-Fault-Lab": "tests"})

    assert len(api.samples()) < 1000


@pytest.mark.anyio
async def test_many_prepare_at_the_same_moment(database_url: str) -> None:
    """Replicas rarely meet so exactly: without the lock, all but one of them would fail here."""
    sqlite = database_url.startswith("sqlite")
    fresh = database_url.replace("tested.db", "moment.db") if sqlite else create_database(database_url, "moment")
    databases = [Database(Settings(database_url=fresh).async_database_url, 1, 3) for _ in range(8)]
    await asyncio.gather(*(database.prepare(seed_users) for database in databases))
    for database in databases:
        await database.engine.dispose()


def test_no_tables_is_not_ready(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """A database that answers, and whose tables somebody else keeps from being made, is not enough."""
    port, file = free_port(), tmp_path / "tested.db"
    url = f"http://127.0.0.1:{port}"
    settings = {"DATABASE_URL": f"sqlite:///{file}", "PAYMENTS_URL": payments.url, "PORT": str(port)}
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN EXCLUSIVE")
        processes.start("bare", [sys.executable, "-m", "app"], settings)
        processes.answers("bare", f"{url}/readyz", status=503)
        checks = httpx2.get(f"{url}/readyz").json()["checks"]
    processes.answers("bare", f"{url}/readyz")
    processes.stop("bare")

    assert {"database": "ok", "tables": "The tables are not there yet.", "payments": "ok"} == checks


def test_a_database_that_comes_later_is_waited_for(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """The service starts, is not ready, says why, and becomes ready by itself."""
    place = tmp_path / "later"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"DATABASE_URL": f"sqlite:///{place}/tested.db", "PAYMENTS_URL": payments.url, "PORT": str(port)}
    processes.start("waiting", [sys.executable, "-m", "app"], settings)
    processes.answers("waiting", f"{url}/healthz")
    processes.answers("waiting", f"{url}/readyz", status=503)
    place.mkdir()
    processes.answers("waiting", f"{url}/readyz")
    processes.stop("waiting")
