"""Whatever is killed, the lines that were written are the lines that are stored: none is missing, none is there twice.

The short form of `make prove-stack`, with native processes.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from demo.scraper import Scraper
from tests.emitted import Line, parse
from tests.postgres import serve_postgres
from tests.processes import Processes
from tests.stack import sets, stores
from tests.stack.native import SERVICES, NativeStack, Stack
from tests.waiting import eventually

OURS = '{service_name=~"api|payments"}'

pytestmark = pytest.mark.skipif(
    os.environ.get("STACK") == "up", reason="kills its own native stack; make prove-stack kills that of docker compose"
)


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Run a stack that nobody else uses."""
    with NativeStack(hurry=True) as started:
        stack = started.start()
        # What was counted before the first scrape is not an increase.
        eventually(lambda: len(stores.query(stack.prometheus, "log_records_total > 0")) >= len(SERVICES), "scrapes")
        yield started


@pytest.fixture(scope="module")
def began() -> float:
    """Return the time before the first line."""
    return time.time() - 60


@contextmanager
def load(native: NativeStack, folder: Path, users: int, *options: str | Path) -> Iterator[None]:
    """Make a request a second for each user, at all replicas in turn, until the block ends."""
    hosts = [native.url(name) for name in SERVICES if name != "payments"]
    with Processes(folder) as processes:
        for number, host in enumerate(hosts):
            command = [sys.executable, "-m", "locust", "--locustfile", "loadtest/locustfile.py", "--host", host]
            quiet = ["--headless", "--spawn-rate", "100", "--incidents", "off", "--skip-log-setup", "--stop-timeout", "15"]
            processes.start(f"load-{number}", [*command, *quiet, "--users", str(users // len(hosts)), *options])
        yield


def lines_of(native: NativeStack, *services: str) -> list[str]:
    return [line for name in services for line in native.services.output(name).read_text().splitlines()]


def compared(native: NativeStack, began: float) -> sets.Compared:
    """Wait until all is stored, and compare."""
    lines = lines_of(native, *SERVICES)
    loki = native.url("loki")
    sets.settled(loki, OURS, began, len(lines), seconds=60)
    now = time.time()
    stored = sets.stored_lines(loki, OURS, began, now)
    return sets.compare(lines, stored, sets.counted_lines(loki, OURS, began, now))


def test_what_never_reached_loki_shows(
    native: NativeStack, began: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines are lost where no component sees it, as by a rotation: the ratio of their service says how many."""
    ask(native, 300)
    sets.settled(native.url("loki"), '{service_name="payments"}', began, len(lines_of(native, "payments")), seconds=60)
    native.servers.stop("alloy")
    kept = len(lines_of(native, "payments"))
    ask(native, 100)
    lost = len(lines_of(native, "payments")) - kept
    os.truncate(native.services.output("payments"), 0)
    native.start_alloy()

    def ratios() -> dict[str, float]:
        found = stores.query(native.url("prometheus"), "job:log_lines_stored:ratio10m")
        return {each["metric"]["job"]: float(each["value"][1]) for each in found}

    found = eventually(lambda: ratios() if ratios().get("payments", 1) < 1 else None, "a loss", seconds=150, pause=1)
    with capsys.disabled():
        print(f"\nof {kept + lost} lines of payments {lost} are lost; {found}")
    assert found["payments"] == pytest.approx(kept / (kept + lost), abs=0.02)
    assert found["api"] == pytest.approx(1, abs=0.02)


def ask(native: NativeStack, times: int) -> None:
    """Ask payments for something that makes lines."""
    for _ in range(times):
        httpx2.get(f"{native.url('payments')}/nothing")


def test_servers_are_killed(
    native: NativeStack, began: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alloy, Loki and Prometheus three times each under load, then Loki is away for 20 s: all lines are there, once."""
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

    found = compared(native, began)
    with capsys.disabled():
        print(f"\n{found}")
    assert found.equal
    assert found.written > 5_000
