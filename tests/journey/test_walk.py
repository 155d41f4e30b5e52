"""The walk as somebody walks it: from a dot, a row or an incident to the lines of one request, and back."""

import json
import re
import time
from datetime import datetime
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.journey.conftest import Visitor
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import eventually

SECOND = 1000  # Grafana's times are in milliseconds
HOME, LINES = "/d/service/service", "/d/trace-logs/trace-logs"


@pytest.fixture(scope="session")
def slow(fresh: Stack, request: pytest.FixtureRequest) -> stores.Exemplar:
    """Wait for a slow dot, and say how long after the beginning of the load the first one was there."""

    def latest() -> stores.Exemplar | None:
        found = stores.exemplars(fresh.prometheus, time.time() - 900)
        dots = [exemplar for exemplar in found if exemplar.value > 1 and exemplar.series["job"] == "api"]
        return max(dots, key=lambda exemplar: exemplar.time, default=None)

    exemplar = eventually(latest, "a slow dot", seconds=400, pause=0.5)
    began = moment(stores.lines(fresh.loki, '{service_name="loadtest"} |= `run.started`')[0])
    first = min(dot.time for dot in stores.exemplars(fresh.prometheus, began) if dot.value > 1)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nthe first slow request ended {first - began:.0f} s after the load began")
    return exemplar


def moment(line: stores.StoredLine) -> float:
    return datetime.fromisoformat(line.fields["timestamp"]).timestamp()


def panel(page: Page, title: str) -> Locator:
    return page.locator(f'[data-testid^="data-testid Panel header {title}"]')


def box(locator: Locator) -> FloatRect:
    found = locator.bounding_box()
    assert found
    return found


def shown_range(page: Page) -> tuple[float, float]:
    """Return the two ends of the time range, in seconds."""
    page.wait_for_url(re.compile(r"[?&]from=2"))
    query = parse_qs(urlsplit(page.url).query)
    began, ended = (datetime.fromisoformat(query[end][0]).timestamp() for end in ("from", "to"))
    return began, ended


def has_lines_of_one_request(page: Page, stack: Stack) -> list[stores.StoredLine]:
    """Assert that the page is about one request: its id, lines of each service that it called, and its time."""
    trace_id = parse_qs(urlsplit(page.url).query)["var-trace_id"][0]
    lines = stores.lines_of(stack.loki, trace_id)
    assert lines
    expect(page.get_by_placeholder("Enter value")).to_have_value(trace_id)
    shown = panel(page, "Lines of all services")
    for service in {line.labels["service_name"] for line in lines}:
        expect(shown.get_by_text(re.compile(rf"\b{service}\b")).first).to_be_visible()
    began, ended = shown_range(page)
    assert all(began <= moment(line) <= ended for line in lines)
    return lines


def test_a_dot_leads_to_its_lines(visitor: Visitor, fresh: Stack, slow: stores.Exemplar) -> None:
    """The highest dot is inside the panel; one click, and the lines of that request are there."""
    page = visitor.open(f"{HOME}?time={slow.time * SECOND:.0f}&time.window=300000")
    latency = panel(page, "Request latency")
    dots = latency.get_by_test_id("data-testid Exemplar marker")
    expect(dots.first).to_be_visible()
    highest = min(dots.all(), key=lambda dot: box(dot)["y"])
    canvas, spot = box(latency.locator("canvas").first), box(highest)
    assert canvas["y"] < spot["y"]
    assert spot["y"] + spot["height"] < canvas["y"] + canvas["height"]
    visitor.picture(page, "1-the-spike")

    highest.hover()
    link = page.get_by_role("link", name="Logs of this request")
    expect(link).to_be_visible()
    visitor.picture(page, "2-the-dot")
    with visitor.context.expect_page() as tab:
        link.click()

    lines = has_lines_of_one_request(tab.value, fresh)
    assert any(line.fields.get("duration_ms", 0) > SECOND for line in lines)


def test_a_row_leads_to_its_lines(visitor: Visitor, fresh: Stack, slow: stores.Exemplar) -> None:
    """The table has every slow request, also those without a dot; a trace id in it leads to its lines."""
    page = visitor.open(f"{HOME}?time={slow.time * SECOND:.0f}&time.window=300000")
    panel(page, "Slowest of").get_by_role("link").first.click()

    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = has_lines_of_one_request(page, fresh)
    visitor.picture(page, "3-the-lines")
    assert max(line.fields.get("duration_ms", 0) for line in lines) >= slow.value * SECOND - 1


def test_an_incident_leads_to_its_spike(visitor: Visitor, slow: stores.Exemplar) -> None:
    """A row of the incidents opens the dashboard at the incident's time, and it stays there."""
    page = visitor.open(HOME)
    panel(page, "Recent incidents").get_by_role("link").first.click()

    began, ended = shown_range(page)
    assert began < slow.time < ended
    expect(panel(page, "Request latency").get_by_test_id("data-testid Exemplar marker").first).to_be_visible()


def test_the_way_back(visitor: Visitor, fresh: Stack, slow: stores.Exemplar) -> None:
    """From the request's facts, and from any of its lines, back to the latency at that moment."""
    url = f"{LINES}?var-trace_id={slow.labels['trace_id']}&time={slow.time * SECOND:.0f}&time.window=600000"
    page = visitor.open(url)
    has_lines_of_one_request(page, fresh)
    panel(page, "Request").first.get_by_role("link").first.click()
    page.wait_for_url(re.compile("/d/service/"))
    began, ended = shown_range(page)
    assert began < slow.time < ended

    page = visitor.open(url)
    panel(page, "Lines of all services").locator('tr[class*="logs-row"]').first.click()
    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="Back to the spike").last.click()
    began, ended = shown_range(tab.value)
    assert began < slow.time < ended


def test_a_line_in_explore_leads_on_and_back(visitor: Visitor, slow: stores.Exemplar) -> None:
    """Whoever searches by hand gets from a raw line to its request, and to the latency at that moment."""
    query = {"refId": "A", "expr": f'{{service_name="api"}} | trace_id="{slow.labels["trace_id"]}"'}
    shown = {"from": f"{(slow.time - 300) * SECOND:.0f}", "to": f"{(slow.time + 300) * SECOND:.0f}"}
    panes = json.dumps({"one": {"datasource": "loki", "queries": [query], "range": shown}})
    page = visitor.open(f"/explore?schemaVersion=1&panes={quote(panes)}")
    page.locator('tr[class*="logs-row"]').first.click()

    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="Back to the spike").click()
    began, ended = shown_range(tab.value)
    assert began < slow.time < ended
    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="All services").click()
    expect(tab.value.get_by_placeholder("Enter value")).to_have_value(slow.labels["trace_id"])


def test_an_id_without_lines_says_so(visitor: Visitor) -> None:
    """The empty page says what to paste; an id that is nobody's, or an attack, finds nothing and breaks nothing."""
    page = visitor.open(LINES)
    expect(page.get_by_text("paste a whole trace id above")).to_be_visible()

    hostile = '"} or {service_name=~".+"} | "<img src=x onerror=alert(1)>'
    page = visitor.open(f"{LINES}?var-trace_id={quote(hostile)}")
    expect(panel(page, "Lines of all services").get_by_text("No data")).to_be_visible()


def test_slow_dots_are_slow_requests(visitor: Visitor, fresh: Stack, slow: stores.Exemplar) -> None:
    """In the panel of slow dots, the lowest one is a request over 500 ms, too."""
    page = visitor.open(f"{HOME}?time={slow.time * SECOND:.0f}&time.window=300000")
    dots = panel(page, "Slow requests only").get_by_test_id("data-testid Exemplar marker")
    expect(dots.first).to_be_visible()
    lowest = max(dots.all(), key=lambda dot: box(dot)["y"])
    lowest.hover(force=True)  # one dot may lie upon another, which is a slow request, too
    href = page.get_by_role("link", name="Logs of this request").get_attribute("href") or ""

    lines = stores.lines_of(fresh.loki, parse_qs(urlsplit(href).query)["var-trace_id"][0])
    assert max(line.fields.get("duration_ms", 0) for line in lines) > 500


def test_an_id_in_the_box_leads_to_its_lines(visitor: Visitor, fresh: Stack, slow: stores.Exemplar) -> None:
    """The second way in: whoever has an id pastes it on the home page, and is one click from its lines."""
    page = visitor.open("/")
    page.get_by_placeholder("Enter value").fill(slow.labels["trace_id"])
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="show its lines")
    expect(link).to_have_attribute("href", re.compile(slow.labels["trace_id"]))
    link.click()

    page.wait_for_url(re.compile("/d/trace-logs/"))
    for service in {line.labels["service_name"] for line in stores.lines_of(fresh.loki, slow.labels["trace_id"])}:
        expect(panel(page, "Lines of all services").get_by_text(re.compile(rf"\b{service}\b")).first).to_be_visible()


def test_a_user_leads_to_the_neighbours(visitor: Visitor, slow: stores.Exemplar) -> None:
    """From the facts of one request to the others of its user, and to those of its second; each leads to its lines."""
    page = visitor.open(
        f"{LINES}?var-trace_id={slow.labels['trace_id']}&time={slow.time * SECOND:.0f}&time.window=600000"
    )
    user = panel(page, "Request").first.get_by_role("link").nth(1)
    name = user.inner_text()
    user.click()

    of_user = panel(page, "Other requests of that user")
    expect(of_user.get_by_role("link").first).to_be_visible()
    assert {name} == {cell.inner_text() for cell in of_user.get_by_role("gridcell").all()[7::8]}
    expect(panel(page, "Other requests of that second").get_by_role("link").first).to_be_visible()
    visitor.picture(page, "4-the-neighbours", of_user)
    other = of_user.get_by_role("link").first
    other_id = other.inner_text()
    other.click()
    expect(page.get_by_placeholder("Enter value")).to_have_value(other_id)
    assert other_id != slow.labels["trace_id"]


def test_every_replica_is_shown(visitor: Visitor, fresh: Stack) -> None:
    """Side by side, by the word that its lines and its metrics have, too."""
    known = {sample["metric"]["instance"] for sample in stores.query(fresh.prometheus, 'up{job="api"}')}
    asked = 'sum by (instance) (rate(http_request_duration_seconds_count{job="api"}[1m])) > 0'

    def replicas_at_work() -> set[str]:
        at_work = {sample["metric"]["instance"] for sample in stores.query(fresh.prometheus, asked)}
        return at_work if at_work == known else set()

    replicas = eventually(replicas_at_work, "requests at every replica", seconds=120)
    page = visitor.open(HOME)
    for title in ("Latency by replica", "Event loop lag by replica"):
        for replica in replicas:
            expect(panel(page, title).get_by_text(replica, exact=True)).to_be_visible()
    visitor.picture(page, "the-replicas", panel(page, "Rate by replica"))


def test_before_anything_happened(visitor: Visitor) -> None:
    """A time without requests says so, in every panel."""
    page = visitor.open(f"{HOME}?from=now-2d&to=now-47h")
    for title in ("Slow requests only", "Latency breakdown", "Request rate by route", "Rate by replica"):
        expect(panel(page, title).get_by_text("No requests in this time.")).to_be_visible()
    for title in ("Errors by route", "Errors and their lines"):
        expect(panel(page, title).get_by_text("No errors in this time.")).to_be_visible()
    visitor.picture(page, "quiet")
