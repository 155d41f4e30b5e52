"""The drills in docs/drills/: from the home dashboard to the answers, with the promised number of clicks.

They run after test_dashboards.py, which expects only the incidents of the load generator.
"""

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Locator, expect

from tests.journey.conftest import Visitor
from tests.journey.test_dashboards import panel
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import wait_for

LAB = {"X-Fault-Lab": "drill"}
USER, SKU = 42, "mug"


@pytest.fixture
def timeout(stack: Stack) -> Iterator[str]:
    """Send an order while the database does not answer for its user; return the trace id of the failed request."""
    fault = {"fault": "database-timeout", "users": [USER], "seconds": 120}
    httpx2.post(f"{stack.api}/faults", json=fault, headers=LAB).raise_for_status()
    response = httpx2.post(f"{stack.api}/orders", json={"user_id": USER, "sku": SKU, "quantity": 3}, timeout=60)
    assert 503 == response.status_code
    trace_id = response.headers["x-trace-id"]
    wait_for(
        lambda: stores.lines(stack.loki, f'{{service_name="api"}} |= `request.finished` |= `{trace_id}`'), "its line"
    )
    yield trace_id
    httpx2.delete(f"{stack.api}/faults", headers=LAB).raise_for_status()


def test_database_timeout(visitor: Visitor, timeout: str) -> None:
    """docs/drills/database-timeout.md: from the home dashboard to the user and the payload in three clicks."""
    clicks = 0

    def click(target: Locator) -> None:
        nonlocal clicks
        clicks += 1
        target.click()

    page = visitor.open("/")
    errors = panel(page, "Failed requests")
    expect(errors.get_by_role("link", name=timeout)).to_be_visible()
    visitor.picture(page, "drill-1-the-errors", errors)
    click(errors.get_by_role("link", name=timeout))

    request = panel(page, "Request").first
    expect(request.get_by_text("503", exact=True)).to_be_visible()
    expect(request.get_by_role("gridcell", name=str(USER), exact=True)).to_be_visible()
    lines = panel(page, "Lines of all services")
    failed = lines.locator('tr[class*="logs-row"]').filter(has_text=re.compile("DatabaseTimeout|Timeout"))
    expect(failed.last).to_be_visible()
    expect(failed.last).to_contain_text(f'"sku":"{SKU}"')
    visitor.picture(page, "drill-2-the-user")
    click(failed.last)

    expect(lines.get_by_text("database-timeout", exact=True)).to_be_visible()
    visitor.picture(page, "drill-3-the-line")
    assert clicks <= 3
