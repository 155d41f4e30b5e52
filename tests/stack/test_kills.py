"""After kills, every written line is stored exactly once.

This is a short version of `make prove-stack` with native processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.emitted import Line, parse
from tests.load import locust
from tests.postgres import serve_postgres
from tests.processes import Processes
from tests.services import unavailable
from tests.stack import comparison, stores
from tests.stack.native import REPLICAS, SERVICES, NativeStack
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    os.environ.get("STACK") == "up", reason="kills a separate native stack; make prove-stack kills containers"
)


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Run a separate stack, because the tests kill its processes."""
    with NativeStack() as started:
        started.start()
        yield started


@pytest.fixture(scope="module")
def began() -> float:
    """Return the time before the first line."""
    return time.time() - 60


@contextmanager
def load(native: NativeStack, folder: Path, users: int) -> Iterator[None]:
    """Send one request per second and user to the replicas until the `with` block ends."""
    hosts = [native.url(name) for name in REPLICAS]
    with Processes(folder) as processes:
        for number, host in enumerate(hosts):
            processes.start(f"load-{number}", locust(host, users // len(hosts), 100, "--stop-timeout", "15"))
        yield


def compare_lines(native: NativeStack, began: float) -> comparison.Comparison:
    """Wait until all lines are stored, and compare them with the written ones."""
    lines = [line for name in SERVICES for line in native.services.output(name).read_text().splitlines()]
    loki = native.url("loki")
    comparison.wait_until_settled(loki)
    now = time.time()
    stored = comparison.stored_lines(loki, comparison.OURS, began, now)
    return comparison.compare(lines, stored, comparison.counted_lines(loki, comparison.OURS, began, now))


def test_servers_are_killed(
    native: NativeStack, began: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines are stored once after three kills of Alloy, Loki and Prometheus and 20 s without Loki."""
    starts: dict[str, Callable[[], None]] = {
        "alloy": native.start_alloy,
        "loki": native.start_loki,
        "prometheus": native.start_prometheus,
    }
    with load(native, tmp_path, 60):
        for _ in range(3):
            for name, start in starts.items():
                time.sleep(2)
                native.servers.kill(name)
                start()
        time.sleep(2)
        native.servers.kill("loki")
        time.sleep(20)
        native.start_loki()

    found = compare_lines(native, began)
    with capsys.disabled():
        print(f"\n{found}")
    assert found.equal
    assert found.written > 5_000


def test_a_service_is_killed(native: NativeStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only requests in flight have no line, and `triage reconcile` lists exactly these."""
    record = tmp_path / "requests.jsonl"
    host = native.url("api-2")
    with Processes(tmp_path) as processes:
        processes.start("load", locust(host, 60, 100, "--stop-timeout", "15", "--record", str(record)))
        wait_for(lambda: record.exists() and record.read_text().count("\n") > 120, "load")
        native.services.kill("api-2")
        native.start_service("api-2")
        native.services.wait_until_ready("api-2", f"{host}/readyz")
        now = record.read_text().count("\n")
        wait_for(lambda: record.read_text().count("\n") > now + 120, "load after the kill")

    sent = {line["request_id"]: line for line in parse(record.read_text())}
    logged = {line.get("request_id") for line in parse(native.services.output("api-2").read_text())}
    missing = sent.keys() - logged
    files = (f"--jsonl={file}" for file in (record, native.services.output("api-2")))
    command = [sys.executable, "-m", "triage", "reconcile", "--json", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    reconciled = json.loads(done.stdout)["sent"]
    with capsys.disabled():
        print(f"\nof {len(sent)} requests {len(missing)} have no line; triage: {len(reconciled['unknown'])} unknown, "
              f"{len(reconciled['never_arrived'])} never arrived")  # fmt: skip
    assert [] == reconciled["differences"]
    assert missing
    assert missing == {*reconciled["unknown"], *reconciled["never_arrived"]} - logged
    # Each user sends one request at a time, so at most one response per user was sent before its line was written.
    assert 60 >= len([name for name in missing if sent[name]["status"] is not None])


def test_the_database_is_killed(native: NativeStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Responses are 503 with a trace id, its line names the cause, and the service recovers with the database."""
    url = f"{native.url('api')}/users/17"
    os.killpg(native.servers.pid("postgres"), signal.SIGKILL)
    native.servers.wait("postgres")
    response = wait_for(lambda: unavailable(url), "a 503")
    assert "application/problem+json" == response.headers["content-type"]
    trace_id = response.headers["x-trace-id"]
    assert trace_id in response.text

    def failed() -> list[Line]:
        found = stores.lines_of(native.url("loki"), trace_id)
        return [line.fields for line in found if line.fields.get("event") == "request.failed"]

    (line,) = wait_for(failed, "the failed request's line")
    assert ("api", "The database does not answer.") == (line["service"], line["error_message"])

    serve_postgres(native.servers)
    began = time.monotonic()
    wait_for(lambda: httpx2.get(url).status_code == 200, "the recovery of the service")
    with capsys.disabled():
        print(f"\nrecovered {time.monotonic() - began:.2f} s after PostgreSQL was started; {line['message']!r}")
