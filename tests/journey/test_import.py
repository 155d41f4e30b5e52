"""docs/your-own-stack.md: the dashboards in another Grafana, whose data sources have other uids."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.journey.conftest import Visitor
from tests.journey.test_dashboards import panel
from tests.processes import Processes, free_port
from tests.stack import stores
from tests.stack.native import ROOT, Stack, server
from tests.waiting import wait_for


@pytest.fixture
def other_grafana(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """Run a new Grafana with two data sources and without dashboards; its visitors are administrators."""
    if not (home := os.environ.get("GRAFANA_HOME")):
        pytest.skip("set GRAFANA_HOME to an unpacked Grafana")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Admin",
        "GF_PATHS_DATA": f"{tmp_path}/data",
        "GF_PATHS_PROVISIONING": f"{tmp_path}/provisioning",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
    }
    with Processes(tmp_path) as processes:
        processes.start("grafana", [server("grafana"), "server", f"--homepath={home}"], settings)
        processes.wait_until_ready("grafana", f"{url}/api/health")
        for kind, at in (("prometheus", stack.prometheus), ("loki", stack.loki)):
            body = {"name": f"My {kind}", "uid": f"my-{kind}", "type": kind, "url": at, "access": "proxy"}
            httpx2.post(f"{url}/api/datasources", json=body).raise_for_status()
        yield url


def test_dashboards_can_be_imported(visitor: Visitor, stack: Stack, other_grafana: str) -> None:
    """After the import, the home dashboard has its numbers, and a slow request links to its lines."""
    for file in (ROOT / "grafana/dashboards").glob("*.json"):
        body = {"dashboard": json.loads(file.read_text()), "overwrite": True, "inputs": []}
        httpx2.post(f"{other_grafana}/api/dashboards/import", json=body).raise_for_status()
    slow = '{service_name="api", level="warning"} |= `request.finished`'
    wait_for(lambda: stores.lines(stack.loki, slow), "a slow request", 400, pause=1)

    page = visitor.context.new_page()
    page.goto(f"{other_grafana}/d/service/service")
    expect(panel(page, "Requests").first.get_by_text("req/s")).to_be_visible()
    expect(panel(page, "Request latency").get_by_text("p99")).to_be_visible()
    panel(page, "Slowest requests").get_by_role("link").first.click()
    page.wait_for_url(re.compile("/d/trace-logs/"))
    expect(panel(page, "Lines of all services").get_by_text("Request finished").first).to_be_visible()
    expect(panel(page, "Where the time went").locator("canvas").first).to_be_visible()
