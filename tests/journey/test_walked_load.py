"""A measured run as somebody looks at it: from its verdict to its time, and from a slow request to its lines.

It comes after the walk, because the stack's own load rests meanwhile.
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
from tests.journey.test_walk import SECOND, has_lines_of_one_request, panel, shown_range
from tests.processes import Processes
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import eventually

LOAD_TEST = "/d/load-test/load-test"
RUNS, WORST = "Runs and their verdicts", "Slowest and failed requests"
# One that is calm, one with slow statements, and one in which the database does not answer for some users.
MADE = (
    ("--seconds", "20", "--loop", "closed"),
    ("--seconds", "30", "--profile", "incident"),
    ("--seconds", "30"),
)
LAB, TIMEOUT = {"X-Fault-Lab": "walk"}, {"fault": "database-timeout", "users": list(range(1, 9)), "seconds": 20}
CODES = {"PASS": 0, "FAIL": 1, "INVALID": 3}


@pytest.fixture(scope="module")
def judged(fresh: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[stores.StoredLine]:
    """Make runs and judge them, as `make load` does; return what Loki was told of each."""
    told = []
    eventually(lambda: has_begun(fresh), "the stack's own load", 60, pause=1)
    for options in MADE:
        folder = tmp_path_factory.mktemp("runs")
        run = [*("loadtest.run", "--host", fresh.api, "--rate", "20", "--folder", str(folder)), *options]
        if options is MADE[-1]:
            httpx2.post(f"{fresh.api}/faults", json=TIMEOUT, headers=LAB).raise_for_status()
        assert 0 == ended(run, fresh, folder)
        code = ended(["triage", "verdict", "--runs", str(folder)], fresh, folder)
        (name,) = (path.name for path in folder.iterdir() if path.is_dir())
        line = verdict_of(name, fresh)
        assert code == CODES[line.fields["verdict"]]
        told.append(line)
    return told


def has_begun(stack: Stack) -> bool:
    """Say whether the stack's own load has begun: what has not, would begin in the middle of a run."""
    try:
        return bool(httpx2.get(f"{stack.locust}/stats/requests", timeout=5).json()["state"] == "running")
    except httpx2.HTTPError:
        return False


def ended(module: Sequence[str], stack: Stack, folder: Path) -> int:
    """Run a module that asks the stack, and return its exit code."""
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
    (line,) = eventually(lambda: stores.lines(stack.loki, query), f"the verdict of {run}")
    return line


def test_a_run_leads_to_its_time_and_its_lines(visitor: Visitor, fresh: Stack, judged: list[stores.StoredLine]) -> None:
    """Every run has its row with its verdict; a click opens its time, and one more the lines of its slowest request."""
    page = visitor.open(f"{LOAD_TEST}?from=now-4m&to=now")
    runs = panel(page, RUNS)
    for line in judged:
        row = runs.get_by_role("row").filter(has_text=line.fields["run"])
        expect(row.get_by_text(line.fields["verdict"], exact=True)).to_be_visible()
    expect(panel(page, "Latency: client beside server").get_by_text("client p99")).to_be_visible()
    expect(panel(page, WORST).get_by_role("link").first).to_be_visible()
    expect(panel(page, "Failures by status").get_by_text("503", exact=True)).to_be_visible()
    visitor.picture(page, "load-test", height=1735)

    last = judged[-1].fields
    runs.get_by_role("link", name=last["run"]).click()
    page.wait_for_url(re.compile("from=(?!now)"))
    began, over = shown_range(page)
    assert began < last["from"] / SECOND < last["to"] / SECOND < over < began + last["to"] - last["from"] + 60

    slowest = panel(page, WORST).get_by_role("row").filter(has_text=last["run"]).get_by_role("link").first
    slowest.click()
    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = has_lines_of_one_request(page, fresh)
    assert max(line.fields.get("duration_ms", 0) for line in lines) > 500


def test_without_a_run(visitor: Visitor) -> None:
    """A time without load says so, in every panel."""
    page = visitor.open(f"{LOAD_TEST}?from=now-2d&to=now-47h")
    expect(panel(page, "Latency: client").get_by_text("No requests in this time.")).to_be_visible()
    for title in ("Rate: asked for", "Where the client's time went", "Users, and requests in flight"):
        expect(panel(page, title).get_by_text("No load in this time.")).to_be_visible()
    expect(panel(page, "Failures by status").get_by_text("No request of the load failed")).to_be_visible()
    expect(panel(page, WORST).get_by_text("No run was judged in this time")).to_be_visible()
