"""The dashboards: what is committed is what the source makes, and it keeps to the contract."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.observability import BUCKETS
from grafana.build import FOLDER, built
from tests.compose import FILE
from tests.docs.test_reference import table

SOURCES = yaml.safe_load((FILE.parent / "grafana/provisioning/datasources/datasources.yml").read_text())
DASHBOARDS = {name: json.loads(content) for name, content in built().items()}
each = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def test_the_files_are_what_the_source_makes() -> None:
    """Nobody edits them by hand; `make dashboards` writes them."""
    assert built() == {file.name: file.read_text() for file in FOLDER.glob("*.json")}


@each
def test_a_dashboard_is_found_by_its_file_name(dashboard: dict[str, Any]) -> None:
    """Links, the home page and bookmarks rely on uids; times are in UTC, like the lines."""
    assert (FOLDER / f"{dashboard['uid']}.json").exists()
    assert ("utc", False) == (dashboard["timezone"], dashboard["editable"])
    assert "service" in {variable["name"] for variable in dashboard["templating"]["list"]}


@each
def test_no_dashboard_refreshes_itself(dashboard: dict[str, Any]) -> None:
    """It would swap the exemplar under the pointer for another one."""
    assert not dashboard.get("refresh")


@each
def test_panels_say_what_they_are(dashboard: dict[str, Any]) -> None:
    """A title to search for, a description, a unit on numbers, a text for emptiness, and a data source by its uid."""
    sources = {source["uid"] for source in SOURCES["datasources"]}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "text"]
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= sources
        if panel["type"] != "logs":  # which has words of its own for emptiness, and no setting for others
            assert ("noValue" if panel["type"] == "table" else "unit") in panel["fieldConfig"]["defaults"]
    assert len({panel["title"] for panel in panels}) == len(panels)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def test_every_link_leads_to_a_dashboard_that_exists() -> None:
    """In the dashboards and in the data sources; relative, so that a proxy in between does not matter."""
    links = [uid for text in _texts([DASHBOARDS, SOURCES]) for uid in re.findall(r"/d/([a-z-]+)/", text)]

    assert links
    assert {f"{uid}.json" for uid in links} <= DASHBOARDS.keys()


def test_queries_quote_what_people_type() -> None:
    """A variable is encoded wherever it stands in a query, so that no link can smuggle another query in."""
    queries = [text for text in _texts(DASHBOARDS) if re.search(r"rate\(|\{service_name|\{job=", text)]
    variables = {variable for query in queries for variable in re.findall(r"\$\{?\w+[^\]}]*\}?", query)}

    assert {
        "${service:percentencode}",
        "${trace_id:percentencode}",
        "${slow_ms:percentencode}",
        "${user:percentencode}",
        "${second:percentencode}",
        "$__rate_interval",
        "${__interval}",
        "$__auto",
        "${__from}",
        "${__to}",
    } == variables


def test_of_runs_is_asked_what_is_told() -> None:
    """A metric that nobody pushes, or a field that no line has, would be a panel that is always empty."""
    texts = list(_texts(DASHBOARDS["load-test.json"]))
    metrics = {re.sub("_(bucket|count|sum)$", "", name) for text in texts for name in re.findall(r"\bload_\w+", text)}
    assert metrics == set(table("Metrics of the load"))

    stages = [stage for text in texts for stage in re.findall(r'"run\.(?:verdict|slow)".*?\| json ([\w, ]+)', text)]
    fields = {field.strip() for stage in stages for field in stage.split(",")}
    assert stages
    assert fields <= {"timestamp", *table("Lines of a run in Loki")}


@pytest.mark.parametrize("title", ["Request latency", "Slow requests only"])
def test_the_first_query_shows_dots(title: str) -> None:
    """Grafana asks for exemplars for the first query of a panel only, and an axis has to reach them."""
    (panel,) = [panel for panel in DASHBOARDS["service.json"]["panels"] if panel.get("title", "").startswith(title)]

    first, *others = panel["targets"]
    assert first["exemplar"]
    assert not any(target["exemplar"] for target in others)
    assert "histogram_quantile(1," in others[-1]["expr"]


def test_slow_dots_are_of_the_buckets_over_the_objective() -> None:
    """A bucket that the service does not have would be a dot that is never shown."""
    (panel,) = [panel for panel in DASHBOARDS["service.json"]["panels"] if "Slow requests" in panel.get("title", "")]
    (bounds,) = re.findall(r'le=~"([^"]*)"', panel["targets"][0]["expr"])
    slow = ["+Inf" if bound == math.inf else str(bound) for bound in (*BUCKETS, math.inf) if bound > 0.5]

    assert slow == bounds.replace("\\\\", "").split("|")


def test_the_interval_is_the_scrape_interval() -> None:
    """$__rate_interval is made from it: with another number, rates would have holes."""
    prometheus = yaml.safe_load((FILE.parent / "prometheus/prometheus.yml").read_text())
    (source,) = [source for source in SOURCES["datasources"] if source["uid"] == "prometheus"]

    assert prometheus["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
