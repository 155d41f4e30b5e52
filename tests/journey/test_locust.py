"""Locust's web UI in a browser: from the slowest request of a run to its log lines."""

import os
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.journey.conftest import Visitor
from tests.journey.test_dashboards import assert_shows_one_trace
from tests.journey.test_load_runs import load_is_running
from tests.load import locust_web_ui
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import wait_for

# A user whose requests have markup as their name.
HOSTILE_NAME = """
from locust import events, task

from loadtest.listeners import add_listeners
from loadtest.user import ApiUser

add_listeners(events)


class Visitor(ApiUser):
    @task
    def visit(self):
        self.client.get("/", name="<img src=x onerror=alert(1)>")
"""


class HostileService(BaseHTTPRequestHandler):
    """A service that returns markup as the trace id."""

    def do_GET(self) -> None:
        """Answer any request."""
        self.send_response(200)
        self.send_header("X-Trace-ID", "<script>alert(2)</script>")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def api(processes: Processes, payments: Service, tmp_path: Path) -> Iterator[Service]:
    """Run a service with SQLite that is slow for some users."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/loaded.db", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    fault = {"fault": "slow-query", "users": list(range(1, 41)), "delay_ms": 700, "seconds": 60}
    with running(processes, "api", settings, "api-under-load") as service:
        service.client.post("/faults", json=fault, headers={"X-Fault-Lab": "tests"}).raise_for_status()
        yield service


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return an empty page; fail afterwards if there were errors in its console."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    expect.set_options(timeout=60_000)
    yield page
    context.close()
    assert [] == problems


@pytest.fixture
def open_tab(page: Page, processes: Processes) -> Iterator[Callable[..., Locator]]:
    """Return a function that starts a run, opens the tab in Locust's web UI, and returns the rows of its table."""

    def start(target: str, locustfile: str, **env: str) -> Locator:
        port = free_port()
        options = ("--host", target, "--autostart", "--users", "5")
        processes.start("page", locust_web_ui(port, *options, locustfile=locustfile), env)
        processes.wait_until_ready("page", f"http://127.0.0.1:{port}/")
        page.goto(f"http://localhost:{port}/")
        page.get_by_role("tab", name="Slowest requests").click()
        rows = page.locator("tbody").get_by_role("row")
        expect(rows).to_have_count(20)
        return rows

    yield start
    page.close()
    processes.stop("page")


def test_the_slowest_request_links_to_its_lines(page: Page, open_tab: Callable[..., Locator], api: Service) -> None:
    """Each row links to Grafana, by a trace id that the service has logged; the slowest request comes first."""
    rows = open_tab(api.url, "loadtest/locustfile.py", GRAFANA_PORT="3456")
    if pictures := os.environ.get("PICTURES"):
        page.screenshot(path=Path(pictures) / "locust.png", clip={"x": 0, "y": 0, "width": 1400, "height": 660})
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="New")).to_be_visible()

    link = rows.first.get_by_role("link")
    trace_id = link.inner_text()
    line = api.finished(trace_id)
    duration, method, name = (rows.first.get_by_role("cell").nth(column).inner_text() for column in (1, 2, 3))
    assert (method, name.partition("?")[0]) == (line["method"], line["route"])
    assert float(duration) >= round(line["duration_ms"]) - 1
    found = re.fullmatch(
        rf"http://localhost:3456/d/trace-logs\?var-trace_id={trace_id}&time=(\d+)&time\.window=600000",
        link.get_attribute("href") or "",
    )
    assert found
    assert abs(int(found[1]) - int(trace_id[:12], 16)) < 60_000

    page.get_by_text("Method", exact=True).click()  # sorts by another column
    expect(rows.last.get_by_role("cell").nth(2)).to_have_text("POST")
    for row in rows.all():
        cell, link = row.get_by_role("cell").last, row.get_by_role("link")
        href, trace_id = link.get_attribute("href") or "", link.inner_text()
        assert f"{href}{trace_id}" == cell.text_content()
        assert f"var-trace_id={trace_id}&" in href


def test_the_link_opens_the_lines_in_grafana(visitor: Visitor, stack: Stack) -> None:
    """One click on the slowest request of the stack's own load opens the dashboard with its lines."""
    wait_for(lambda: load_is_running(stack), "the stack's own load", 60, pause=1)
    page = visitor.context.new_page()
    page.goto(f"{stack.locust}/")
    page.get_by_role("tab", name="Slowest requests").click()
    trace_id = page.locator("tbody").get_by_role("link").first.inner_text()
    wait_for(lambda: stores.lines_of(stack.loki, trace_id), "the lines of the slowest request")
    with visitor.context.expect_page() as opened:
        page.get_by_role("link", name=trace_id).click()
    lines = assert_shows_one_trace(opened.value, stack)
    assert trace_id == lines[0].fields["trace_id"]


def test_markup_in_names_and_ids_is_text(page: Page, open_tab: Callable[..., Locator], tmp_path: Path) -> None:
    """Markup in the name of a request is shown as it is, and an id that is not valid is not used."""
    locustfile = tmp_path / "locustfile.py"
    locustfile.write_text(HOSTILE_NAME)
    with ThreadingHTTPServer(("127.0.0.1", 0), HostileService) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        rows = open_tab(f"http://127.0.0.1:{server.server_port}", str(locustfile))
        expect(rows.first.get_by_role("cell").nth(3)).to_have_text("<img src=x onerror=alert(1)>")
        expect(rows.first.get_by_role("link")).to_have_text(re.compile("^[0-9a-f]{32}$"))
        expect(page.locator("td *:not(a)")).to_have_count(0)
        server.shutdown()
