"""The same promises behind every server, however the service is started."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.emitted import Line
from tests.processes import Processes
from tests.servers.conftest import Start

DOCS = Path(__file__).parents[2] / "docs/servers.md"
GUNICORN = "gunicorn service:app --worker-class uvicorn_worker.UvicornWorker"


@dataclass(frozen=True)
class Server:
    """A way to start the service.

    `prints` are the lines of the launcher: of processes that do not run the service, or do not do so yet.
    `first_message` is the first one of the server itself.
    """

    command: str
    address: str
    quiet: str = ""
    prints: tuple[str, ...] = ()
    always_prints: tuple[str, ...] = ()
    access_log: str = ""
    first_message: str = "Started server process"


_RELOADER = ("INFO:     (Will watch for changes|Uvicorn running|Started reloader|Stopping reloader)",)
_MASTER = tuple(
    rf"\[.+\] \[\d+\] \[INFO\] {message}"
    for message in (
        "Starting gunicorn", "Listening at", "Using worker", "Booting worker", "Handling signal: term",
        r"Worker \(pid:\d+\) was sent SIGTERM", "Shutting down: Master",
    )
)  # fmt: skip
_GRANIAN = (r"\[INFO\] (Starting|Listening at|Spawning worker|Shutting down granian|Stopped worker|Granian shutdown)",)
SERVERS = {
    "uvicorn": Server("uvicorn service:app", "--port {port}"),
    "uvicorn, wrapped": Server("uvicorn wrapped:app", "--port {port}"),
    "uvicorn.run": Server("python service.py", ""),
    "uvicorn --reload": Server("uvicorn service:app --reload", "--port {port}", "--log-level error", _RELOADER),
    "fastapi run": Server(
        "fastapi run service.py",
        "--host 127.0.0.1 --port {port}",
        always_prints=(
            r"\s*$",
            r"\W*(Starting FastAPI in production mode|Using import string: service:app)",
            r"\W*(Server started at|Documentation at) http://127.0.0.1:\d+(/docs)?$",
            r"\W*Logs:",
        ),
    ),
    "gunicorn": Server(
        GUNICORN, "--bind 127.0.0.1:{port} --no-control-socket", "--log-level error", _MASTER,
        access_log="--access-logfile -",
    ),
    "gunicorn --config": Server(
        f"{GUNICORN} --config json_logs.py", "--bind 127.0.0.1:{port} --no-control-socket",
        access_log="--access-logfile -",
    ),
    "gunicorn --preload": Server(
        f"{GUNICORN} --preload", "--bind 127.0.0.1:{port} --no-control-socket", access_log="--access-logfile -",
    ),
    "hypercorn": Server(
        "hypercorn service:app", "--bind 127.0.0.1:{port}", access_log="--access-logfile -", first_message="Running on",
    ),
    "granian": Server(
        "granian --interface asgi service:app", "--port {port}", "--log-level error", _GRANIAN,
        access_log="--access-log", first_message="Started worker-1",
    ),
}  # fmt: skip


@dataclass
class Run:
    """What one run of a service has answered and written."""

    server: Server
    quiet: bool
    launcher: tuple[str, ...]  # patterns of the lines that its launcher may print
    thing: httpx2.Response
    failure: httpx2.Response
    metrics: str
    output: str = ""

    @property
    def lines(self) -> list[Line]:
        """Return the lines of JSON."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def lines_of(self, response: httpx2.Response) -> list[Line]:
        """Return the lines with the trace id of a response."""
        return [line for line in self.lines if line["trace_id"] == response.headers["x-trace-id"]]


RUNS = [(name, False) for name in SERVERS] + [(name, True) for name, server in SERVERS.items() if server.quiet]


@pytest.fixture(scope="module", params=RUNS, ids=[f"{name}, quiet" if quiet else name for name, quiet in RUNS])
def run(request: pytest.FixtureRequest, start: Start, processes: Processes) -> Run:
    """Start the service, send requests, and stop it with SIGTERM.

    A quiet run has the flags that silence the launcher, any other has the access log. Each request has its own
    connection: some servers close it after an unhandled error.
    """
    name, quiet = request.param
    server = SERVERS[name]
    with start(f"{server.command} {server.address} {server.quiet if quiet else server.access_log}") as service:
        result = Run(
            server,
            quiet,
            server.always_prints + (() if quiet else server.prints),
            thing=httpx2.get(f"{service.url}/things/3?token=hunter2"),
            failure=httpx2.get(f"{service.url}/failure?token=hunter2"),
            metrics=httpx2.get(f"{service.url}/metrics", headers={"Accept": "application/openmetrics-text"}).text,
        )
    result.output = service.output.read_text() + processes.errors(service.name).read_text()
    return result


def test_a_request_has_one_line_and_one_observation(run: Run) -> None:
    """The response has the id, one line has it with status and duration, and so has the exemplar of the histogram."""
    assert 200 == run.thing.status_code
    fetched, finished = run.lines_of(run.thing)

    assert ("Thing fetched", "request.finished") == (fetched["message"], finished["event"])
    assert ("/things/{thing_id}", 200) == (finished["route"], finished["status"])
    samples = [
        sample
        for family in text_string_to_metric_families(run.metrics)
        for sample in family.samples
        if sample.labels.get("route") == "/things/{thing_id}"
    ]
    assert [1] == [sample.value for sample in samples if sample.name == "http_request_duration_seconds_count"]
    ((labels, seconds),) = [(each.labels, each.value) for sample in samples if (each := sample.exemplar)]
    assert {"trace_id": run.thing.headers["x-trace-id"], "span_id": finished["span_id"]} == labels
    assert finished["duration_ms"] == pytest.approx(seconds * 1000)


def test_an_unhandled_error_is_logged_once(run: Run) -> None:
    """The response has the id, and what the server logs about the same exception is dropped."""
    assert 500 == run.failure.status_code
    assert {"request.finished", "request.failed"} == {line["event"] for line in run.lines_of(run.failure)}
    assert ["request.failed"] == [line.get("event") for line in run.lines if line["level"] in {"error", "critical"}]


def test_every_line_is_json(run: Run) -> None:
    """Only the launcher prints text, as documented."""
    text = [line for line in run.output.splitlines() if not line.startswith("{")]
    assert [] == [line for line in text if not any(re.match(pattern, line) for pattern in run.launcher)]


def test_the_messages_of_the_server_are_logged(run: Run) -> None:
    """From the first one on, unless a flag has silenced them."""
    assert run.quiet or any(line["message"].startswith(run.server.first_message) for line in run.lines)


def test_no_line_has_the_query_string(run: Run) -> None:
    """It may hold secrets; neither the service nor the server's access log writes it."""
    assert "hunter2" not in run.output


def test_sigterm_ends_the_service(run: Run) -> None:
    """The shutdown of the application runs, and its last line has the totals."""
    (stopped,) = (line for line in run.lines if line.get("event") == "service.stopped")
    assert {"200": 1} == stopped["totals"]["/things/{thing_id}"]


def test_the_documentation_has_every_server() -> None:
    """Each way to start the service is in the table, with the flags that silence its launcher."""
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    for server in SERVERS.values():
        (row,) = (row for row in rows if row.startswith(f"| `{server.command}` |"))
        assert not server.quiet or f"`{server.quiet}`" in row
