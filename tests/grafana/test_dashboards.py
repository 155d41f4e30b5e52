"""The dashboards: the committed files are up to date, and they meet the contract."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from grafana.build import FOLDER, build_all
from tests.compose import FILE
from tests.docs.test_reference import table

SOURCES = yaml.safe_load((FILE.parent / "grafana/provisioning/datasources/datasources.yml").read_text())
DASHBOARDS = {name: json.loads(content) for name, content in build_all().items()}
#: Variables, so that the dashboards can be imported into another Grafana; and a data source that combines others.
DATA_SOURCES = {"${prometheus}", "${loki}", "-- Mixed --"}
every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def test_committed_files_are_up_to_date() -> None:
    """`make dashboards` would not change the committed files."""
    assert build_all() == {file.name: file.read_text() for file in FOLDER.glob("*.json")}


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all panels, also those in collapsed rows, without the rows."""
    panels = [each for panel in dashboard["panels"] for each in (panel, *panel.get("panels", []))]
    return [panel for panel in panels if panel["type"] != "row"]


@every_dashboard
def test_dashboard_settings(dashboard: dict[str, Any]) -> None:
    """The uid is the file name, times are in UTC like those of the lines, and there is a variable `service`."""
    assert (FOLDER / f"{dashboard['uid']}.json").exists()
    assert ("utc", False) == (dashboard["timezone"], dashboard["editable"])
    assert "service" in {variable["name"] for variable in dashboard["templating"]["list"]}


@every_dashboard
def test_no_automatic_refresh(dashboard: dict[str, Any]) -> None:
    """A refresh would replace the exemplar under the pointer."""
    assert not dashboard.get("refresh")


@every_dashboard
def test_panels_are_complete(dashboard: dict[str, Any]) -> None:
    """Panels have a unique title, a description, a data source, and a unit or a text for empty results."""
    panels = [panel for panel in panels_of(dashboard) if panel["type"] != "text"]
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= DATA_SOURCES
        if panel["type"] != "logs":  # a logs panel has a fixed text for empty results
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


def test_links_point_to_existing_dashboards() -> None:
    """Links in the dashboards and data sources are relative, so that they work behind a proxy, and lead somewhere."""
    links = [uid for text in _texts([DASHBOARDS, SOURCES]) for uid in re.findall(r"/d/([a-z-]+)/", text)]

    assert links
    assert {f"{uid}.json" for uid in links} <= DASHBOARDS.keys()


def test_variables_in_queries_are_encoded() -> None:
    """Variables in queries are URL-encoded, except those of Grafana, so that a link cannot inject another query."""
    queries = [text for text in _texts(DASHBOARDS) if re.search(r"rate\(|\{service_name|\{job=", text)]
    variables = {variable for query in queries for variable in re.findall(r"\$\{?\w+[^\]}]*\}?", query)}

    assert "${service:percentencode}" in variables
    assert [] == [
        each
        for each in variables
        if not re.fullmatch(r"\$\{\w+:percentencode\}|\$\{?__\w+\}?|\$\{(prometheus|loki)\}", each)
    ]


def test_load_test_dashboard_uses_documented_metrics_and_fields() -> None:
    """A metric or a field that does not exist would result in an empty panel."""
    texts = list(_texts(DASHBOARDS["load-test.json"]))
    metrics = {re.sub("_(bucket|count|sum)$", "", name) for text in texts for name in re.findall(r"\bload_\w+", text)}
    assert metrics == set(table("Metrics of the load"))

    stages = [stage for text in texts for stage in re.findall(r'"run\.(?:verdict|slow)".*?\| json ([\w, ]+)', text)]
    fields = {field.strip() for stage in stages for field in stage.split(",")}
    assert stages
    assert fields <= {"timestamp", *table("Lines of a run in Loki")}


def test_latency_panel_has_exemplars_in_its_range() -> None:
    """Grafana shows exemplars only for the first query of a panel, and the maximum extends the axis to all of them."""
    (panel,) = [panel for panel in panels_of(DASHBOARDS["service.json"]) if panel.get("title") == "Request latency"]

    first, *others = panel["targets"]
    assert first["exemplar"]
    assert not any(target["exemplar"] for target in others)
    assert "histogram_quantile(1," in others[-1]["expr"]


def test_first_screen_of_the_home_dashboard() -> None:
    """Status, latency, slow requests and their explanation are above the fold of a laptop: 20 rows of 38 pixels."""
    panels = {panel.get("title"): panel["gridPos"] for panel in panels_of(DASHBOARDS["service.json"])}
    bottom = panels["Why? What the slow requests have in common"]

    assert bottom["y"] + bottom["h"] <= 20
    assert all(
        panels[title]["y"] < bottom["y"] for title in ("Requests", "Latency heatmap", "Slow and failed requests")
    )


def test_every_metric_of_the_services_is_shown() -> None:
    """A metric that no dashboard shows would be written for nothing."""
    queries = [
        target["expr"]
        for each in DASHBOARDS.values()
        for panel in panels_of(each)
        for target in panel.get("targets", [])
    ]
    queries += [each["expr"] for board in DASHBOARDS.values() for each in board["annotations"].get("list", [])]
    metrics = {*table("Metrics"), *table("Metrics of the load")}

    assert metrics
    assert {name for name in metrics if not any(name in query for query in queries)} == set()


@every_dashboard
def test_data_sources_are_variables(dashboard: dict[str, Any]) -> None:
    """A dashboard can be imported into a Grafana whose data sources have other uids."""
    variables = {each["name"] for each in dashboard["templating"]["list"] if each["type"] == "datasource"}
    used = {each for text in _texts(dashboard) for each in re.findall(r"\$\{(prometheus|loki)\}", text)}

    assert used <= variables == {"prometheus", "loki"}
    assert {"prometheus", "loki"}.isdisjoint(
        {panel["datasource"]["uid"] for panel in panels_of(dashboard) if "datasource" in panel}
    )


def test_data_source_has_the_scrape_interval() -> None:
    """$__rate_interval depends on it: with a different value, rates would have gaps."""
    prometheus = yaml.safe_load((FILE.parent / "prometheus/prometheus.yml").read_text())
    (source,) = [source for source in SOURCES["datasources"] if source["uid"] == "prometheus"]

    assert prometheus["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
