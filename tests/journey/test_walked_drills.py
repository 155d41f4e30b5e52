"""The drills of docs/drills/, as they are written: from the home dashboard to the answers, and in how many clicks.

They come after the walk, which looks at the incidents of the load alone.
"""

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Locator, expect

from tests.journey.conftest import Visitor
from tests.journey.test_walk import panel
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import eventually

LAB = {"X-Fault-Lab": "drill"}
USER, SKU = 42, "mug"


@pytest.fixture
def timeout(fresh: Stack) -> Iterator[str]:
    """Let the database not answer for one user, who orders something; return the trace id of what came of it."""
    fault = {"fault": "database-timeout", "users": [USER], "seconds": 120}
    httpx2.post(f"{fresh.api}/faults", json=fault, headers=LAB).raise_for_status()
    answer = httpx2.post(f"{fresh.api}/orders", json={"user_id": USER, "sku": SKU, "quantity": 3}, timeout=60)
    assert 503 == answer.status_code
    trace_id = answer.headers["x-trace-id"]
    eventually(lambda: stores.lines(fresh.loki, f'{{service_name="api"}} |= `request.finished` |= `{trace_id}`'), "it")
    yield trace_id
    httpx2.delete(f"{fresh.api}/faults", headers=LAB).raise_for_status()


def test_database_timeout(visitor: Visitor, timeout: str) -> None:
    """docs/drills/database-timeout.md: from the home dashboard to which user and which payload in three clicks."""
    clicks = 0

    def click(target: Locator) -> None:
        nonlocal clicks
        clicks += 1
        target.click()

    page = visitor.open("/")
    errors = panel(page, "Errors and their lines")
    expect(errors.get_by_role("link", name=timeout)).to_be_visible()
    visitor.picture(page, "drill-1-the-errors", errors)
    click(errors.get_by_role("link", name=timeout))

    facts = panel(page, "Request").first
    expect(facts.get_by_text("503", exact=True)).to_be_visible()
    expect(facts.get_by_role("link", name=str(USER), exact=True)).to_be_visible()
    lines = panel(page, "Lines of all services")
    failed = lines.locator('tr[class*="logs-row"]').filter(has_text=re.compile("DatabaseTimeout|Timeout"))
    expect(failed.last).to_be_visible()
    expect(failed.last).to_contain_text(f'"sku":"{SKU}"')
    visitor.picture(page, "drill-2-the-user")
    click(failed.last)

    expect(lines.get_by_text("database-timeout", exact=True)).to_be_visible()
    visitor.picture(page, "drill-3-the-line")
    assert clicks <= 3
