"""`python -m app`: from its first line to its last, also when something is wrong."""

import asyncio
import contextlib
import os
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


def test_a_client_that_never_comes_to_an_end_is_not_waited_for(processes: Processes) -> None:
    """Of a body that never comes, 8 s after SIGTERM is the end: it is told as cancelled, and the last line is there."""
    with running(processes, "payments", {}, "dawdling") as service:
        place = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with contextlib.closing(socket.create_connection(place)) as client:
            client.sendall(b"POST /charges HTTP/1.1\r\nHost: x\r\nX-Request-ID: dawdler\r\nContent-Length: 9\r\n\r\n{")
            eventually(lambda: _in_flight(service) == 2, "the request to arrive")
            processes.signal("dawdling", signal.SIGTERM)
            started = time.monotonic()
            eventually(lambda: service.lines()[-1].get("event") == "service.stopped", "the end", seconds=15)
            took = time.monotonic() - started

    line, last = service.lines("dawdler")[-1], service.lines()[-1]
    assert 7 < took < 10
    assert ("request.finished", 499, "cancelled") == (line["event"], line["status"], line["outcome"])
    assert ("service.stopped", {"499": 1}) == (last["event"], last["totals"]["/charges"])


def _in_flight(service: Service) -> float:
    return next(sample.value for sample in service.samples() if sample.name == "http_requests_in_flight")


INHERITING = """
from contextvars import ContextVar
from app import server
from app.observability import Observability

before = ContextVar("before", default=b"nothing")

async def answer(scope, receive, send):
    if scope["type"] != "http":
        return
    inherited = before.get()
    before.set(b"something")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(inherited))]})
    await send({"type": "http.response.body", "body": inherited})

server._SERVICES["api"] = (server.ServerSettings, lambda _: ((o := Observability("api")), o.wrap(answer)))
server.serve("api")
"""


def test_a_request_inherits_nothing_from_the_one_before(processes: Processes) -> None:
    """On one connection, also where both come in one go: what the first set in its context is not there any more."""
    port = free_port()
    processes.start("inheriting", [sys.executable, "-c", INHERITING], {"PORT": str(port)})
    processes.answers("inheriting", f"http://127.0.0.1:{port}/")
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    processes.stop("inheriting")

    assert 3 == answer.count(b"nothing")
    assert 0 == answer.count(b"something")


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
