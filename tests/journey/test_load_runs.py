"""Measured runs on the dashboard: from the verdict to the time range, and from a slow request to its lines.

They run after the other browser tests, because a measured run pauses the stack's own load.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import expect

from tests.journey.conftest import Visitor
from tests.journey.test_dashboards import SECOND, assert_shows_one_trace, panel, time_range
from tests.processes import Processes
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import wait_for

LOAD_TEST = "/d/load-test/load-test"
RUNS, WORST = "Runs and their verdicts", "Slowest and failed requests"
# A run without faults, one with slow queries, and one with database timeouts for some users.
RUN_OPTIONS = (
    ("--seconds", "20", "--loop", "closed"),
    ("--seconds", "30", "--profile", "incident"),
    ("--seconds", "30"),
)
LAB, TIMEOUT = (
    {"X-Fault-Lab": "browser-tests"},
    {"fault": "database-timeout", "users": list(range(1, 9)), "seconds": 20},
)
CODES = {"PASS": 0, "FAIL": 1, "INVALID": 3}


@pytest.fixture(scope="module")
def verdicts(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[stores.StoredLine]:
    """Make runs and evaluate them like `make load`; return the verdict lines in Loki."""
    lines = []
    wait_for(lambda: load_is_running(stack), "the stack's own load", 60, pause=1)
    for options in RUN_OPTIONS:
        folder = tmp_path_factory.mktemp("runs")
        run = [*("loadtest.run", "--host", stack.api, "--rate", "20", "--folder", str(folder)), *options]
        if options is RUN_OPTIONS[-1]:
            httpx2.post(f"{stack.api}/faults", json=TIMEOUT, headers=LAB).raise_for_status()
        assert 0 == run_module(run, stack, folder)
        code = run_module(["triage", "verdict", "--runs", str(folder)], stack, folder)
        (name,) = (path.name for path in folder.iterdir() if path.is_dir())
        line = verdict_of(name, stack)
        assert code == CODES[line.fields["verdict"]]
        lines.append(line)
    return lines


def load_is_running(stack: Stack) -> bool:
    """Return whether the stack's own load is running; otherwise it could start in the middle of a run."""
    try:
        return bool(httpx2.get(f"{stack.locust}/stats/requests", timeout=5).json()["state"] == "running")
    except httpx2.HTTPError:
        return False


def run_module(module: Sequence[str], stack: Stack, folder: Path) -> int:
    """Run a module that uses the stack, and return its exit code."""
    environment = {
        "API_URL": stack.api,
        "LOKI_URL": stack.loki,
        "PROMETHEUS_URL": stack.prometheus,
        "LOCUST_URL": stack.locust,
        "GRAFANA_PORT": str(urlsplit(stack.grafana or "").port),
    }
    with Processes(folder) as processes:
        processes.start(module[0], [sys.executable, "-m", *module], environment)
        return processes.wait(module[0], 180)


def verdict_of(run: str, stack: Stack) -> stores.StoredLine:
    query = f'{{service_name="loadtest"}} |= `"event":"run.verdict"` |= `"run":"{run}"`'
    (line,) = wait_for(lambda: stores.lines(stack.loki, query), f"the verdict of {run}")
    return line


def test_run_links_to_its_time_and_lines(visitor: Visitor, stack: Stack, verdicts: list[stores.StoredLine]) -> None:
    """Each run has a row with its verdict and links to its time range, and its slowest request links to its lines."""
    page = visitor.open(f"{LOAD_TEST}?from=now-4m&to=now")
    runs = panel(page, RUNS)
    for line in verdicts:
        row = runs.get_by_role("row").filter(has_text=line.fields["run"])
        expect(row.get_by_text(line.fields["verdict"], exact=True)).to_be_visible()
    expect(panel(page, "Latency at the client").get_by_text("client p99")).to_be_visible()
    expect(panel(page, WORST).get_by_role("link").first).to_be_visible()
    expect(panel(page, "Failed requests by status").get_by_text("503", exact=True)).to_be_visible()
    visitor.picture(page, "load-test", height=1735)

    last = verdicts[-1].fields
    runs.get_by_role("link", name=last["run"]).click()
    page.wait_for_url(re.compile("from=(?!now)"))
    began, ended = time_range(page)
    assert began < last["from"] / SECOND < last["to"] / SECOND < ended < began + last["to"] - last["from"] + 60

    slowest = panel(page, WORST).get_by_role("row").filter(has_text=last["run"]).get_by_role("link").first
    slowest.click()
    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = assert_shows_one_trace(page, stack)
    assert max(line.fields.get("duration_ms", 0) for line in lines) > 500


def test_time_range_without_runs(visitor: Visitor) -> None:
    """All panels show a text for an empty time range."""
    page = visitor.open(f"{LOAD_TEST}?from=now-2d&to=now-47h")
    expect(panel(page, "Latency at the client").get_by_text("No requests in this time.")).to_be_visible()
    for title in ("Requests: planned", "Client latency: server", "Users and requests in progress"):
        expect(panel(page, title).get_by_text("No load run in this time.")).to_be_visible()
    expect(panel(page, "Failed requests by status").get_by_text("No failed requests")).to_be_visible()
    expect(panel(page, WORST).get_by_text("No run with a verdict in this time")).to_be_visible()
