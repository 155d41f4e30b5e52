"""The user name and password in the URL of a server are sent to it, but neither printed nor recorded."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from loadtest.stack import pause_stack_load
from tests.emitted import parse
from tests.load import locust_web_ui
from tests.processes import Processes, free_port
from tests.waiting import wait_for

HEADER = "Basic c29tZSBvbmU6czNjOnJldEA="  # some one:s3c:ret@
SECRETS = re.compile(r"some(%20| )one|s3c|c29tZSBvbmU6")


class ProtectedServer:
    """A server that accepts only requests with the user name and password; they are counted by path and status."""

    def __init__(self, port: int) -> None:
        """Describe the server on `port` of the loopback interface."""
        self.address = f"http://127.0.0.1:{port}"
        self.url = f"http://some%20one:s3c:ret%40@127.0.0.1:{port}"
        self.requests: Counter[tuple[str, int]] = Counter()
        self.bodies: dict[str, str] = {}

    def statuses(self) -> set[int]:
        """Return the statuses of all responses."""
        return {status for _, status in self.requests}


@pytest.fixture
def protected() -> Iterator[ProtectedServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            status = 200 if self.headers["Authorization"] == HEADER else 401
            path = re.sub(r"(?<=/users/)\d+", "ID", self.path.partition("?")[0])
            found.requests[path, status] += 1
            body = found.bodies.get(path, "{}").encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as the base class wants it

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = ProtectedServer(server.server_port)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        server.shutdown()


def test_a_measured_run(processes: Processes, protected: ProtectedServer, tmp_path: Path) -> None:
    """All requests are accepted, the incident included; output, files and verdict contain no secret."""
    nowhere = f"127.0.0.1:{free_port()}"
    servers = {"LOCUST_URL": protected.url, "PROMETHEUS_URL": f"http://someone:s3cret@{nowhere}"}
    run = [
        "--host",
        protected.url,
        "--folder",
        str(tmp_path),
        "--profile",
        "incident",
        "--seconds",
        "3",
        "--rate",
        "10",
    ]
    processes.start("run", [sys.executable, "-m", "loadtest.run", *run], servers)
    assert 0 == processes.wait("run"), processes.last_lines("run")
    processes.start("verdict", [sys.executable, "-m", "triage", "verdict", "--no-stack", "--runs", tmp_path])
    processes.wait("verdict")

    assert {200} == protected.statuses()
    assert {"/", "/faults", "/users/ID", "/stats/requests"} <= {path for path, _ in protected.requests}
    names = ("run", "verdict")
    printed = {name: processes.output(name).read_text() + processes.errors(name).read_text() for name in names}
    assert f"to {protected.address}\n" in printed["run"]
    assert f"Prometheus at http://***@{nowhere} does not accept them" in printed["run"]
    assert f"of {protected.address}: " in printed["verdict"]
    files = {path.name: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert {"run.jsonl", "sent-0.jsonl", "verdict.json", "verdict.md"} <= files.keys()
    assert [] == [name for name, text in {**files, **printed}.items() if SECRETS.search(text)]


def test_the_load_of_the_stack(processes: Processes, protected: ProtectedServer) -> None:
    """The requests of workers and the metrics are accepted; lines, page and command line contain no secret."""
    port, between = free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": between, "LOCUST_MASTER_NODE_PORT": between, "LOAD_WORKERS": "1"}
    settings = {"LOAD_TARGET": protected.url, "LOAD_PORT": str(port), "LOAD_USERS": "4", "LOAD_INCIDENTS": "off"}
    processes.start("secret-load", [sys.executable, "-m", "loadtest"], {**settings, **ports})
    metrics = {"PROMETHEUS_URL": protected.url}
    processes.start("secret-worker", [sys.executable, "-m", "loadtest", "worker"], {**ports, **metrics})
    url = f"http://127.0.0.1:{port}"
    processes.wait_until_ready("secret-load", f"{url}/", 60)
    wait_for(lambda: protected.requests["/users/ID", 200], "requests", 60)
    wait_for(lambda: protected.requests["/api/v1/otlp/v1/metrics", 200], "metrics", 60)
    pages = [httpx2.get(url + path).text for path in ("/", "/run", "/stats/report", "/exceptions")]
    form = {"user_count": "1", "spawn_rate": "1", "host": "http://someone:s3cret@other.example"}
    pages.append(httpx2.post(f"{url}/swarm", data=form).text)
    command = Path(f"/proc/{processes.pid('secret-load')}/cmdline")
    command_line = command.read_text() if command.exists() else ""
    for name in ("secret-worker", "secret-load"):
        processes.stop(name)

    assert {200} == protected.statuses()
    assert "To load http://***@other.example, restart it" in pages[-1]
    lines = processes.output("secret-load").read_text()
    (started,) = [line for line in parse(lines) if line.get("event") == "run.started"]
    assert protected.address == started["host"]
    assert [] == [text for text in (*pages, lines, command_line) if SECRETS.search(text)]


def test_a_host_in_the_form(processes: Processes, protected: ProtectedServer) -> None:
    """The form may contain them, and the same URL without them starts a run with them again; other URLs do not."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start("secret-form", locust_web_ui(port))
    processes.wait_until_ready("secret-form", f"{url}/")
    pages = []
    for host, status in ((protected.url, 200), (protected.address, 200), (f"{protected.address}/other", 401)):
        wait_for(
            lambda: httpx2.get(f"{url}/stats/requests").json()["state"] in {"ready", "stopped"}, "the last run", 60
        )
        protected.requests.clear()
        form = {"user_count": "2", "spawn_rate": "2", "host": host}
        httpx2.post(f"{url}/swarm", data=form).raise_for_status()
        wait_for(lambda: protected.requests.total() > 2, "requests", 60)
        pages += [httpx2.get(url + path).text for path in ("/", "/run")]
        httpx2.post(f"{url}/stop", timeout=60).raise_for_status()
        assert {status} == protected.statuses()
    processes.stop("secret-form")
    pages += [processes.output("secret-form").read_text(), processes.errors("secret-form").read_text()]
    assert [] == [text for text in pages if SECRETS.search(text)]


def test_pausing_the_load_of_the_stack(protected: ProtectedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Locust that wants a user name and password is stopped and started again, for a host with or without them."""
    protected.bodies = {
        "/stats/requests": '{"state": "running", "user_count": 3}',
        "/run": f'{{"host": "{protected.address}", "run_time": 60}}',
    }
    monkeypatch.setenv("LOCUST_URL", protected.url)
    with pause_stack_load(protected.url) as paused:
        assert paused
        assert protected.requests["/stop", 200]
    assert protected.requests["/swarm", 200]
    assert {200} == protected.statuses()
