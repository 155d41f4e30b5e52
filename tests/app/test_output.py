"""The output of a service: only JSON lines, also if stdout is broken or the service fails, and no secrets."""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.app.faults import FAULT_HEADERS
from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.waiting import wait_for


@contextlib.contextmanager
def payments_with_stdout(stdout: int, errors: Path) -> Iterator[httpx2.Client]:
    """Run payments with this stdout; check that its stderr is empty."""
    port = free_port()
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "payments"],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env={**os.environ, "PORT": str(port)},
        )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: is_healthy(client), "payments")
            yield client
    finally:
        process.terminate()
        process.wait(60)
    assert "" == errors.read_text()


def is_healthy(client: httpx2.Client) -> bool:
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
    """The responses are sent, lost lines are counted, and stderr is empty."""
    reading, writing = os.pipe()
    with payments_with_stdout(writing, tmp_path / "err") as client:
        os.close(writing)
        os.close(reading)
        before = lost_lines(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == lost_lines(client)


def test_a_full_disk_does_not_break_requests(tmp_path: Path) -> None:
    """The responses are sent, lost lines are counted, and stderr is empty."""
    full = os.open("/dev/full", os.O_WRONLY)
    with payments_with_stdout(full, tmp_path / "err") as client:
        before = lost_lines(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == lost_lines(client)
    os.close(full)


def test_a_full_pipe_loses_no_lines(tmp_path: Path) -> None:
    """It blocks the service, as with Docker's default; when it is read again, no line is missing."""
    reading, writing = os.pipe()
    with payments_with_stdout(writing, tmp_path / "err") as client:
        os.close(writing)
        done = 0
        with contextlib.suppress(httpx2.TimeoutException):
            while done < 10_000:
                client.post("/charges", json={"order_id": done + 1, "amount_cents": 1}, timeout=2)
                done += 1
        assert done < 10_000
        text = read_all(reading)
        wait_for(lambda: is_healthy(client), "payments to continue")
        assert 0 == lost_lines(client)
    text += read_all(reading)
    os.close(reading)

    charged = {line["order_id"] for line in parse(text) if line.get("event") == "request.finished"}
    assert set(range(1, done + 1)) <= charged


def read_all(reading: int) -> str:
    """Read until the pipe has been empty for half a second."""
    os.set_blocking(reading, False)
    text = b""
    empty = 0
    while empty < 10:
        try:
            chunk = os.read(reading, 1_000_000)
        except BlockingIOError:
            chunk = b""
        text, empty = text + chunk, 0 if chunk else empty + 1
        time.sleep(0.05)
    return text.decode()


def test_the_last_line_has_the_totals_of_all_requests(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Also the request that is in flight at SIGTERM, while new connections are refused already."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "DATABASE_TIMEOUT": "9", "FAULTS": "on"}
    with running(processes, "api", {**settings, "PAYMENTS_URL": payments.url}, "totals") as service:
        for path in ("/users/1", "/users/1", "/users/999999", "/nothing"):
            service.client.get(path)
        assert [422, 422] == [
            service.client.request(method, "/users?limit=0").status_code for method in ("GET", "POST")
        ]
        fault = {"fault": "slow-query", "delay_ms": 1500, "users": [1]}
        service.client.post("/faults", json=fault, headers=FAULT_HEADERS)
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with contextlib.closing(socket.create_connection(address)) as client:
            client.sendall(b"GET /users/1 HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: slow\r\n\r\n")
            wait_for(lambda: service.lines("slow"), "the request to arrive")
            processes.signal("totals", signal.SIGTERM)
            wait_for(lambda: is_refused(address), "new connections to be refused")
            assert b" 200 OK" in client.recv(1000)
        wait_for(lambda: service.lines()[-1].get("event") == "service.stopped", "the last line")

    lines = service.lines()
    totals = lines[-1]["totals"]
    expected: dict[str, Counter[str]] = {}
    for line in (line for line in lines if line.get("event") == "request.finished"):
        expected.setdefault(line["route"], Counter())[str(line["status"])] += 1
    assert expected == totals
    assert {"200": 3, "404": 1} == totals["/users/{user_id}"]
    assert {"422": 2} == totals["/users"]


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return True
    return False


def test_an_exception_on_import_is_logged(tmp_path: Path) -> None:
    """With its message, because the service cannot start."""
    (tmp_path / "pydantic_settings.py").write_text("raise RuntimeError('import failed')\n")
    done = subprocess.run(
        [sys.executable, "-m", "app"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip

    (line,) = parse(done.stdout + done.stderr)
    assert ("critical", "RuntimeError", "import failed") == (
        line["level"], line["error_type"], line["error_message"],
    )  # fmt: skip
    assert 1 == done.returncode


SECRETS = {name: f"secret-{number}-{name}" for number, name in enumerate(
    ["authorization", "cookie", "api-key", "query", "form", "json", "basic", "path", "validation", "user-agent",
     "referer", "environment"]
)}  # fmt: skip


def test_secrets_are_not_in_the_output(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Secrets in headers, URLs, bodies and the environment are in no line, metric or response."""
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/tested.db",
        "PAYMENTS_URL": payments.url,
        "SECRET": SECRETS["environment"],
    }
    headers = {
        "Authorization": f"Bearer {SECRETS['authorization']}", "Cookie": f"session={SECRETS['cookie']}",
        "X-Api-Key": SECRETS["api-key"], "User-Agent": SECRETS["user-agent"], "Referer": SECRETS["referer"],
    }  # fmt: skip
    with running(processes, "api", settings, "secrets") as service:
        client = service.client
        basic = httpx2.Client(base_url=service.url, auth=("me", SECRETS["basic"]))
        responses = [
            client.get("/users/1", params={"token": SECRETS["query"]}, headers=headers),
            client.get(f"/users/{SECRETS['path']}", headers=headers),
            client.get(f"/{SECRETS['path']}"),
            client.post("/users", data={"password": SECRETS["form"]}),
            client.post("/users", json={"email": SECRETS["validation"], "name": "x", "password": SECRETS["json"]}),
            basic.get("/orders"),
        ]
        responses.append(client.post("/orders", json={"user_id": 1, "sku": "mug", "note": SECRETS["json"]}))
        texts = [response.text for response in responses]
        texts.append(client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text)
        basic.close()
    texts += [processes.output("secrets").read_text(), processes.errors("secrets").read_text()]

    encoded = {"encoded": base64.b64encode(f"me:{SECRETS['basic']}".encode()).decode()}
    assert [] == [name for name, secret in {**SECRETS, **encoded}.items() if any(secret in text for text in texts)]


def test_credentials_of_other_servers_are_not_in_the_output(processes: Processes) -> None:
    """Those of a database and of payments that do not answer are in no line and no response."""
    port, nowhere = free_port(), free_port()
    settings = {
        "DATABASE_URL": f"postgresql://some%20one:s3cret@127.0.0.1:{nowhere}/app?password=s3cret",
        "PAYMENTS_URL": f"http://some%20one:s3cret@127.0.0.1:{nowhere}",
        "PORT": str(port),
        "LOG_LEVEL": "debug",
    }
    processes.start("credentials", [sys.executable, "-m", "app"], settings)
    url = f"http://127.0.0.1:{port}"
    processes.wait_until_ready("credentials", f"{url}/readyz", status=503)
    texts = [httpx2.get(url + path, timeout=30).text for path in ("/readyz", "/users/1", "/metrics")]
    processes.stop("credentials")
    texts += [processes.output("credentials").read_text(), processes.errors("credentials").read_text()]

    assert '"database":"The database does not answer."' in texts[0]
    assert [] == [text for text in texts if re.search("s3cret|some.{1,3}one", text)]


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
        raise RuntimeError("lifespan failed")
    yield
    raise RuntimeError("lifespan failed")

configure_logging("tested", safe_exceptions=(ServiceError,))
run(ObservabilityMiddleware(FastAPI(lifespan=lifespan)), ServerSettings())
"""


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_an_exception_in_the_lifespan_is_logged_once(processes: Processes, verb: str) -> None:
    """With its message, and without the traceback that Starlette passes to uvicorn."""
    name, port = f"cannot-{verb}", free_port()
    processes.start(name, [sys.executable, "-c", FAILING_LIFESPAN, verb], {"PORT": str(port)})
    if verb == "stop":
        processes.wait_until_ready(name, f"http://127.0.0.1:{port}/", status=404)
        processes.signal(name, signal.SIGTERM)
    processes.wait(name)

    output = processes.output(name).read_text() + processes.errors(name).read_text()
    failures = [line for line in parse(output) if "error_type" in line]
    assert [(f"Service cannot {verb}", "RuntimeError", "lifespan failed")] == [
        (line["message"], line["error_type"], line["error_message"]) for line in failures
    ]
