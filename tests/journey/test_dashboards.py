"""Navigation in a browser: from an exemplar, a table row or an incident to the lines of one request, and back."""

import json
import re
import time
from datetime import datetime
from itertools import product
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import yaml
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.compose import FILE
from tests.journey.conftest import Visitor
from tests.stack import stores
from tests.stack.native import Stack
from tests.waiting import wait_for

SECOND = 1000  # Grafana's times are in milliseconds
RULES = [
    rule
    for group in yaml.safe_load((FILE.parent / "prometheus/rules/slo.yml").read_text())["groups"]
    for rule in group["rules"]
]
HOME, LINES = "/d/service/service", "/d/trace-logs/trace-logs"


@pytest.fixture(scope="session")
def slow_exemplar(stack: Stack, request: pytest.FixtureRequest) -> stores.Exemplar:
    """Wait for a slow exemplar, and print how long after the start of the load the first one appeared."""

    def latest() -> stores.Exemplar | None:
        found = stores.exemplars(stack.prometheus, time.time() - 900)
        slow = [exemplar for exemplar in found if exemplar.value > 1 and exemplar.series["job"] == "api"]
        return max(slow, key=lambda exemplar: exemplar.time, default=None)

    exemplar = wait_for(latest, "a slow exemplar", seconds=400, pause=0.5)
    began = timestamp(stores.lines(stack.loki, '{service_name="loadtest"} |= `run.started`')[0])
    first = min(each.time for each in stores.exemplars(stack.prometheus, began) if each.value > 1)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nthe first slow request ended {first - began:.0f} s after the load began")
    return exemplar


def timestamp(line: stores.StoredLine) -> float:
    return datetime.fromisoformat(line.fields["timestamp"]).timestamp()


def panel(page: Page, title: str) -> Locator:
    return page.locator(f'[data-testid^="data-testid Panel header {title}"]')


def bounding_box(locator: Locator) -> FloatRect:
    rectangle = locator.bounding_box()
    assert rectangle
    return rectangle


def time_range(page: Page) -> tuple[float, float]:
    """Return the start and the end of the time range on the page, in seconds."""
    page.wait_for_url(re.compile(r"[?&]from=2"))
    query = parse_qs(urlsplit(page.url).query)
    began, ended = (datetime.fromisoformat(query[end][0]).timestamp() for end in ("from", "to"))
    return began, ended


def trace_url(exemplar: stores.Exemplar) -> str:
    """Return the path of the dashboard with the lines of an exemplar."""
    return f"{LINES}?var-trace_id={exemplar.labels['trace_id']}&time={exemplar.time * SECOND:.0f}&time.window=600000"


def assert_shows_one_trace(page: Page, stack: Stack) -> list[stores.StoredLine]:
    """Assert that the page shows the id, the time range and the lines of one trace; return its lines."""
    trace_id = parse_qs(urlsplit(page.url).query)["var-trace_id"][0]
    lines = stores.lines_of(stack.loki, trace_id)
    assert lines
    expect(page.get_by_placeholder("Enter value")).to_have_value(trace_id)
    shown = panel(page, "Lines of all services")
    for service in {line.labels["service_name"] for line in lines}:
        expect(shown.get_by_text(re.compile(rf"\b{service}\b")).first).to_be_visible()
    began, ended = time_range(page)
    assert all(began <= timestamp(line) <= ended for line in lines)
    return lines


def test_exemplar_links_to_its_lines(visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar) -> None:
    """The highest exemplar is inside the panel, and one click opens the lines of its request."""
    page = visitor.open(f"{HOME}?time={slow_exemplar.time * SECOND:.0f}&time.window=300000")
    latency = panel(page, "Request latency")
    markers = latency.get_by_test_id("data-testid Exemplar marker")
    expect(markers.first).to_be_visible()
    highest = min(markers.all(), key=lambda marker: bounding_box(marker)["y"])
    canvas, marker = bounding_box(latency.locator("canvas").first), bounding_box(highest)
    assert canvas["y"] < marker["y"]
    assert marker["y"] + marker["height"] < canvas["y"] + canvas["height"]

    highest.hover()
    link = page.get_by_role("link", name="Logs of this request")
    expect(link).to_be_visible()
    with visitor.context.expect_page() as tab:
        link.click()

    lines = assert_shows_one_trace(tab.value, stack)
    assert any(line.fields.get("duration_ms", 0) > SECOND for line in lines)


def test_table_row_links_to_its_lines(visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar) -> None:
    """The table lists all slow requests, with or without an exemplar, and links each trace id to its lines."""
    page = visitor.open(f"{HOME}?time={slow_exemplar.time * SECOND:.0f}&time.window=300000")
    panel(page, "Slowest requests").get_by_role("link").first.click()

    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = assert_shows_one_trace(page, stack)
    visitor.picture(page, "3-the-lines")
    assert max(line.fields.get("duration_ms", 0) for line in lines) >= slow_exemplar.value * SECOND - 1


def test_incident_links_to_its_spike(visitor: Visitor, slow_exemplar: stores.Exemplar) -> None:
    """A row in the table of incidents opens the dashboard at the time of the incident."""
    page = visitor.open(HOME)
    panel(page, "Recent incidents").get_by_role("link").first.click()

    began, ended = time_range(page)
    assert began < slow_exemplar.time < ended
    expect(panel(page, "Request latency").get_by_test_id("data-testid Exemplar marker").first).to_be_visible()


def test_links_back_to_the_spike(visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar) -> None:
    """The panel with the request and each of its lines link back to the latency at that time."""
    url = trace_url(slow_exemplar)
    page = visitor.open(url)
    assert_shows_one_trace(page, stack)
    panel(page, "Request").first.get_by_role("link").first.click()
    page.wait_for_url(re.compile("/d/service/"))
    began, ended = time_range(page)
    assert began < slow_exemplar.time < ended

    page = visitor.open(url)
    panel(page, "Lines of all services").locator('tr[class*="logs-row"]').first.click()
    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="Back to the spike").last.click()
    began, ended = time_range(tab.value)
    assert began < slow_exemplar.time < ended


def test_line_in_explore_links_to_trace_and_spike(visitor: Visitor, slow_exemplar: stores.Exemplar) -> None:
    """A line in Explore links to the lines of its trace, and to the latency at that time."""
    query = {"refId": "A", "expr": f'{{service_name="api"}} | trace_id="{slow_exemplar.labels["trace_id"]}"'}
    shown = {"from": f"{(slow_exemplar.time - 300) * SECOND:.0f}", "to": f"{(slow_exemplar.time + 300) * SECOND:.0f}"}
    panes = json.dumps({"one": {"datasource": "loki", "queries": [query], "range": shown}})
    page = visitor.open(f"/explore?schemaVersion=1&panes={quote(panes)}")
    page.locator('tr[class*="logs-row"]').first.click()

    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="Back to the spike").click()
    began, ended = time_range(tab.value)
    assert began < slow_exemplar.time < ended
    with visitor.context.expect_page() as tab:
        page.get_by_role("link", name="All services").click()
    expect(tab.value.get_by_placeholder("Enter value")).to_have_value(slow_exemplar.labels["trace_id"])


def test_unknown_trace_id(visitor: Visitor) -> None:
    """Without an id, the page explains what to paste; an id with a query injection shows no lines."""
    page = visitor.open(LINES)
    expect(page.get_by_text("paste a whole trace id above").first).to_be_visible()

    hostile = '"} or {service_name=~".+"} | "<img src=x onerror=alert(1)>'
    page = visitor.open(f"{LINES}?var-trace_id={quote(hostile)}")
    expect(panel(page, "Lines of all services").get_by_text("No data")).to_be_visible()


def test_dot_of_a_slow_request_links_to_its_lines(
    visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar
) -> None:
    """From the home page, a click on a dot opens the lines with the user and the payload: one click."""
    page = visitor.open(f"{HOME}?time={slow_exemplar.time * SECOND:.0f}&time.window=300000")
    page.set_viewport_size({"width": 1400, "height": 900})
    plot = panel(page, "Slow and failed requests").locator(".u-over")
    expect(plot).to_be_visible()
    dot = _find_dot(page, plot)
    page.mouse.click(*dot)

    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = assert_shows_one_trace(page, stack)
    finished = [line.fields for line in lines if line.fields.get("event") == "request.finished"]
    assert max(line["duration_ms"] for line in finished) >= 500 or max(line["status"] for line in finished) >= 500
    expect(panel(page, "Lines of all services").get_by_text(re.compile("Request finished")).first).to_be_visible()


def _find_dot(page: Page, plot: Locator) -> tuple[float, float]:
    """Move the pointer over a plot until Grafana highlights a dot; return the position of the dot."""
    expect(plot).to_be_visible()
    box = bounding_box(plot)
    for across, down in product(range(2, 100, 2), (15, 30, 50, 70, 85)):
        page.mouse.move(box["x"] + box["width"] * across / 100, box["y"] + box["height"] * down / 100)
        page.wait_for_timeout(30)
        for dot in plot.locator(".u-cursor-pt").all():
            at = dot.bounding_box()
            if at and box["x"] < at["x"] < box["x"] + box["width"] and at["y"] > box["y"]:
                center = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
                page.mouse.move(*center)
                expect(page.get_by_text("Click to open Lines of this request")).to_be_visible()
                return center
    pytest.fail("no dot was found")


def test_pasted_trace_id_links_to_its_lines(visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar) -> None:
    """A trace id that is pasted on the home page, with blanks around it, is one click away from its lines."""
    page = visitor.open("/")
    page.get_by_placeholder("Enter value").fill(f"  {slow_exemplar.labels['trace_id']} ")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="show its lines")
    expect(link).to_have_attribute("href", re.compile(slow_exemplar.labels["trace_id"]))
    link.click()

    page.wait_for_url(re.compile("/d/trace-logs/"))
    for service in {
        line.labels["service_name"] for line in stores.lines_of(stack.loki, slow_exemplar.labels["trace_id"])
    }:
        expect(panel(page, "Lines of all services").get_by_text(re.compile(rf"\b{service}\b")).first).to_be_visible()


def test_other_requests_are_shown(visitor: Visitor, slow_exemplar: stores.Exemplar) -> None:
    """Other requests of the same user and of the same second are shown at once, and link to their lines."""
    page = visitor.open(trace_url(slow_exemplar))
    same_user = panel(page, "Other requests of the same user")
    expect(same_user.get_by_role("link").first).to_be_visible()
    user = panel(page, "Request").first.get_by_role("gridcell").nth(6).inner_text()
    assert {user} == {cell.inner_text() for cell in same_user.get_by_role("gridcell").all()[7::8]}
    expect(panel(page, "Other requests of the same second").get_by_role("link").first).to_be_visible()
    visitor.picture(page, "4-the-neighbours", same_user)
    other = same_user.get_by_role("link").first
    other_id = other.inner_text()
    other.click()
    expect(page.get_by_placeholder("Enter value")).to_have_value(other_id)
    assert other_id != slow_exemplar.labels["trace_id"]


def test_explanation_links_to_an_example(visitor: Visitor, stack: Stack, slow_exemplar: stores.Exemplar) -> None:
    """After an incident, the table shows its cause, and links to the lines of an example: one click."""
    explained = '{service_name="tour"} |= `incident.explained`'
    wait_for(lambda: stores.lines(stack.loki, explained), "an explanation", 300, pause=1)
    page = visitor.context.new_page()
    for theme in ("dark", "light"):
        page.goto(f"{visitor.grafana}{HOME}?from={(slow_exemplar.time - 240) * SECOND:.0f}&to=now&theme={theme}")
        page.set_viewport_size({"width": 1400, "height": 900})
        expect(panel(page, "Why?").get_by_text("user_id", exact=True).first).to_be_visible()
        _find_dot(page, panel(page, "Slow and failed requests").locator(".u-over"))
        visitor.screen(page, f"home-{theme}")
    # The ids are longer than the columns: click the visible part.
    panel(page, "Why?").get_by_role("link").nth(1).click(position={"x": 10, "y": 5})

    page.wait_for_url(re.compile("/d/trace-logs/"))
    lines = assert_shows_one_trace(page, stack)
    assert max(line.fields.get("duration_ms", 0) for line in lines) >= 500


@pytest.mark.usefixtures("slow_exemplar")
def test_alert_links_to_the_lines(visitor: Visitor) -> None:
    """The link of an alert opens the service, where a click on a dot opens the lines: two clicks."""
    (rule,) = [rule for rule in RULES if rule.get("alert") == "LatencyBudgetBurn"]
    link = rule["annotations"]["dashboard"].replace("{{ $labels.job }}", "api")
    page = visitor.open(link)
    page.mouse.click(*_find_dot(page, panel(page, "Slow and failed requests").locator(".u-over")))

    page.wait_for_url(re.compile("/d/trace-logs/"))


def test_all_replicas_are_shown(visitor: Visitor, stack: Stack) -> None:
    """The panels show every replica under the name in its lines and metrics."""
    expected = {sample["metric"]["instance"] for sample in stores.query(stack.prometheus, 'up{job="api"}')}
    rates = 'sum by (instance) (rate(http_request_duration_seconds_count{job="api"}[1m])) > 0'

    def active_replicas() -> set[str]:
        active = {sample["metric"]["instance"] for sample in stores.query(stack.prometheus, rates)}
        return active if active == expected else set()

    replicas = wait_for(active_replicas, "requests at every replica", seconds=120)
    page = visitor.open(HOME)
    page.set_viewport_size({"width": 1440, "height": 4600})
    page.get_by_text("Replicas and resources").click()
    for title in ("Latency by replica", "Event loop lag by replica"):
        for replica in replicas:
            expect(panel(page, title).get_by_text(replica, exact=True)).to_be_visible()
    visitor.picture(page, "the-replicas", panel(page, "Rate by replica"))


def test_time_range_without_requests(visitor: Visitor) -> None:
    """All panels show a text for an empty time range."""
    page = visitor.open(f"{HOME}?from=now-2d&to=now-47h")
    for title in ("Request latency", "Requests by route"):
        expect(panel(page, title).get_by_text("No requests in this time.")).to_be_visible()
    for title in ("Slow and failed requests", "Slowest requests", "Where slow requests"):
        expect(panel(page, title).get_by_text("No request was slow or failed in this time.")).to_be_visible()
    expect(panel(page, "5xx responses").get_by_text("No 5xx responses in this time.")).to_be_visible()
    expect(panel(page, "Failed requests").get_by_text("No failed requests in this time.")).to_be_visible()
    expect(panel(page, "Why?").get_by_text("No incident was explained in this time.")).to_be_visible()
    visitor.picture(page, "quiet")


def test_failed_query_is_marked(visitor: Visitor) -> None:
    """A panel whose query failed has a red symbol, and its text names the symbol."""
    page = visitor.context.new_page()
    # Loki answers like this if a query takes too long.
    page.route(
        re.compile("/api/ds/query.*ds_type=loki"), lambda route: route.fulfill(status=504, json={"message": "timeout"})
    )
    page.goto(f"{visitor.grafana}{HOME}")
    slowest = panel(page, "Slowest requests")
    expect(slowest.get_by_text("If the panel has a red symbol, its query failed.")).to_be_visible()
    expect(slowest.get_by_test_id("data-testid Panel status error")).to_be_visible()
    visitor.picture(page, "failed-queries")
    page.close()
    visitor.problems.clear()
