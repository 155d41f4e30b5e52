"""A service's one stream when it is in trouble, and its last line."""

import contextlib
import json
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

from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.waiting import eventually


@contextlib.contextmanager
def payments_writing_to(stdout: int, errors: Path) -> Iterator[httpx2.Client]:
    """Run payments with a stdout of our choice; its stderr has to stay empty."""
    port = free_port()
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "payments"],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env={**os.environ, "PORT": str(port)},
        )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            eventually(lambda: _answers(client), "payments")
            yield client
    finally:
        process.terminate()
        process.wait(15)
    assert "" == errors.read_text()


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.HTTPError:
        return False


def failed(client: httpx2.Client) -> int:
    (value,) = re.findall(r"^log_records_failed_total (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return int(float(value))


def charge(client: httpx2.Client, order: int) -> int:
    return client.post("/charges", json={"order_id": order, "amount_cents": 1}).status_code


def test_a_reader_that_has_gone_harms_no_request(tmp_path: Path) -> None:
    """A closed pipe: requests are answered, lines are counted as lost, and nothing is printed elsewhere."""
    reading, writing = os.pipe()
    with payments_writing_to(writing, tmp_path / "err") as client:
        os.close(writing)
        os.close(reading)
        before = failed(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == failed(client)


def test_a_full_disk_harms_no_request(tmp_path: Path) -> None:
    """The same where every write fails."""
    full = os.open("/dev/full", os.O_WRONLY)
    with payments_writing_to(full, tmp_path / "err") as client:
        before = failed(client)
        assert [201] * 5 == [charge(client, order) for order in range(1, 6)]
        assert before + 10 == failed(client)
    os.close(full)


def test_a_reader_that_pauses_delays_and_loses_nothing(tmp_path: Path) -> None:
    """A full pipe stops the service, as Docker's default does; when it is read again, every line is there."""
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
        eventually(lambda: _answers(client), "payments to go on")
        assert 0 == failed(client)
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


def test_the_last_line_has_the_totals(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """A request in flight is answered, new ones are refused, and the totals are the lines."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, "totals") as service:
        for path in ("/users/1", "/users/1", "/users/999999", "/nothing"):
            service.client.get(path)
        assert [422, 422] == [
            service.client.request(method, "/users?limit=0").status_code for method in ("GET", "POST")
        ]
        fault = {"fault": "slow-query", "delay_ms": 1500, "users": [1]}
        service.client.post("/faults", json=fault, headers={"X-Fault-Lab": "tests"})
        place = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with contextlib.closing(socket.create_connection(place)) as client:
            client.sendall(b"GET /users/1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\n\r\n")
            eventually(lambda: service.lines("slow"), "the request to arrive")
            processes.signal("totals", signal.SIGTERM)
            eventually(lambda: _refused(place), "new ones to be refused")
            assert b" 200 OK" in client.recv(1000)
        eventually(lambda: service.lines()[-1].get("event") == "service.stopped", "the last line")

    lines = service.lines()
    totals = lines[-1]["totals"]
    told: dict[str, dict[str, int]] = {}
    for line in (line for line in lines if line.get("event") == "request.finished"):
        of_route = told.setdefault(line["route"], {})
        of_route[str(line["status"])] = of_route.get(str(line["status"]), 0) + 1
    assert told == totals
    assert {"200": 3, "404": 1} == totals["/users/{user_id}"]
    assert {"422": 2} == totals["/users"]


def _refused(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=1).close()
    except OSError:
        return True
    return False


def test_a_mistake_in_the_settings_module_is_lines(tmp_path: Path) -> None:
    """What fails on import is told like anything else, without the exception's text."""
    shadow = tmp_path / "pydantic_settings.py"
    shadow.write_text("raise RuntimeError('hunter2')\n")
    done = subprocess.run(
        [sys.executable, "-m", "app"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip

    (line,) = parse(done.stdout + done.stderr)
    assert ("critical", "RuntimeError", 1) == (line["level"], line["error_type"], done.returncode)
    assert "hunter2" not in json.dumps(line)


def test_more_workers_are_refused() -> None:
    """Each would count for itself, and a scrape would see one of them: the sentence says to run replicas."""
    done = subprocess.run(
        [sys.executable, "-m", "app"], env={**os.environ, "WEB_CONCURRENCY": "4"}, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip

    (line,) = parse(done.stdout + done.stderr)
    assert 2 == done.returncode
    assert re.search("WEB_CONCURRENCY.*metrics of its own.*replicas", line["message"])


CANARIES = {name: f"canary-{number}-{name}" for number, name in enumerate(
    ["authorization", "cookie", "api-key", "query", "form", "json", "basic", "path", "validation", "user-agent",
     "referer", "environment"]
)}  # fmt: skip


def test_no_secret_is_found_anywhere(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Twelve of them, planted where clients and people put secrets: in no line, no metric, and no answer."""
    hide = CANARIES
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/tested.db", "PAYMENTS_URL": payments.url, "SECRET": hide["environment"]
    }  # fmt: skip
    headers = {
        "Authorization": f"Bearer {hide['authorization']}", "Cookie": f"session={hide['cookie']}",
        "X-Api-Key": hide["api-key"], "User-Agent": hide["user-agent"], "Referer": hide["referer"],
    }  # fmt: skip
    with running(processes, "api", settings, "secrets") as service:
        client = service.client
        basic = httpx2.Client(base_url=service.url, auth=("me", hide["basic"]))
        answers = [
            client.get("/users/1", params={"token": hide["query"]}, headers=headers),
            client.get(f"/users/{hide['path']}", headers=headers),
            client.get(f"/{hide['path']}"),
            client.post("/users", data={"password": hide["form"]}),
            client.post("/users", json={"email": hide["validation"], "name": "x", "password": hide["json"]}),
            basic.get("/orders"),
        ]
        answers.append(client.post("/orders", json={"user_id": 1, "sku": hide["json"]}))
        texts = [answer.text for answer in answers]
        texts.append(client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text)
        basic.close()
    texts += [processes.output("secrets").read_text(), processes.errors("secrets").read_text()]

    assert [] == [name for name, canary in hide.items() if any(canary in text for text in texts)]


@pytest.mark.parametrize(("place", "verb"), [("starts", "start"), ("stops", "stop")])
def test_what_fails_in_the_lifespan_is_told_without_its_text(place: str, verb: str) -> None:
    """Starlette hands a traceback on as text, and uvicorn prints it: neither happens, one line says it."""
    code = f"""
import asyncio, os, signal, sys, contextlib
import uvicorn
from fastapi import FastAPI
from app.observability import Observability, configure_logging

@contextlib.asynccontextmanager
async def lifespan(_):
    if {place!r} == "starts":
        raise RuntimeError("hunter2")
    asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGINT)
    yield
    raise RuntimeError("hunter2")

observability = Observability("tested")
configure_logging(observability)
app = observability.wrap(FastAPI(lifespan=lifespan))
with contextlib.suppress(KeyboardInterrupt, SystemExit):
    uvicorn.run(app, port={free_port()}, log_config=None, access_log=False)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603

    told = [line for line in parse(done.stdout + done.stderr) if "error_type" in line]
    assert [(f"Service cannot {verb}", "RuntimeError")] == [(line["message"], line["error_type"]) for line in told]
    assert "hunter2" not in done.stdout + done.stderr
