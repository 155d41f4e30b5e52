"""Whoever is woken finds a page that says what to do, links that lead there, and words that are the rules' own."""

import re
from typing import Any

import pytest
import yaml

from tests.docs.test_reference import ROOT, table
from tests.grafana.test_dashboards import DASHBOARDS
from tests.runbooks import RUNBOOKS, queries
from tests.services import Service

FILES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
RULES = {file.stem: yaml.safe_load(file.read_text())["groups"] for file in FILES}
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule["annotations"]
    for groups in RULES.values()
    for group in groups
    for rule in group["rules"]
    if "alert" in rule
}
OBJECTIVES = [rule for rule in RULES["slo"][0]["rules"] if rule.get("record") == "slo:budget:ratio"]


def test_every_alert_has_its_page_and_its_row() -> None:
    """And there is neither for what is no alert any more."""
    assert set(ALERTS) == set(RUNBOOKS) == set(table("Alerts"))
    recorded = {rule["record"] for rule in RULES["slo"][0]["rules"] if "record" in rule}
    assert recorded == set(table("Recorded series"))


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_answers_four_questions(alert: str) -> None:
    """Meaning, impact, diagnosis with queries for both stores, mitigation: in this order, under its alert's name."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS[alert], re.MULTILINE)

    assert [alert, "Meaning", "Impact", "Diagnosis", "Mitigation"] == headings
    assert {"promql", "logql"} == {language for language, _ in queries(alert)}
    assert "triage explain" in RUNBOOKS[alert]


@pytest.mark.parametrize(
    ("alert", "shows"), [("AvailabilityBudgetBurn", "Errors"), ("LatencyBudgetBurn", "Request latency")]
)
def test_an_alert_leads_to_its_panels(alert: str, shows: str) -> None:
    """Its runbook, and the panel where the spike is; the sentence is the same for all services, the rest is not."""
    annotations = ALERTS[alert]
    (book,) = re.findall(r"^/d/slo/slo\?viewPanel=(\d+)$", annotations["runbook_url"])
    panels = {panel["id"]: panel.get("title", "") for panel in DASHBOARDS["slo.json"]["panels"]}
    spikes = {panel["id"]: panel.get("title", "") for panel in DASHBOARDS["service.json"]["panels"]}

    assert alert == panels[int(book)]
    assert "service" == annotations["__dashboardUid__"]
    assert spikes[int(annotations["__panelId__"])].startswith(shows)
    assert "{{" not in annotations["summary"]
    assert "{{ $labels.job }}" in annotations["description"]
    assert "var-service={{ $labels.job }}" in annotations["dashboard"]


def test_a_runbook_in_grafana_is_about_the_service_that_was_chosen() -> None:
    """Its links stay in this Grafana, whatever its port, and its queries are about the service that the alert named."""
    panels = DASHBOARDS["slo.json"]["panels"]
    books = [panel["options"]["content"] for panel in panels if panel.get("title") in RUNBOOKS]

    assert len(ALERTS) == len(books)
    for book in books:
        assert "localhost:3000" not in book
        assert not re.search(r'"api"|%22api%5C%22|var-service=api', book)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective["labels"]["slo"])
def test_the_words_are_the_numbers(objective: dict[str, Any]) -> None:
    """What people read is the budget that the rules burn: on the dashboard, in the reference, in alert and runbook."""
    (budget,) = re.findall(r"^vector\((.+)\)$", objective["expr"])
    words = f"{100 - 100 * float(budget):g} %"
    name = f"{objective['labels']['slo'].capitalize()}BudgetBurn"
    introduction = DASHBOARDS["slo.json"]["panels"][0]["options"]["content"]
    reference = (ROOT / "docs/reference.md").read_text()

    for text in (introduction, reference, ALERTS[name]["description"], RUNBOOKS[name]):
        assert re.search(rf"(?<![\d.]){re.escape(words)}", text)


def test_the_objective_is_a_bound_of_the_histogram(payments: Service) -> None:
    """As the service writes it: for Prometheus, `0.50` would be another one."""
    payments.client.get("/nothing-is-here")
    bounds = {sample.labels["le"] for sample in payments.samples() if sample.name.endswith("duration_seconds_bucket")}
    used = re.findall(r'le="([^"]+)"', (ROOT / "prometheus/rules/slo.yml").read_text())

    assert ["0.5"] == used
    assert set(used) <= bounds


def test_no_window_is_longer_than_what_is_kept() -> None:
    """Or it would be shorter than it says, and nobody would know."""
    (kept,) = re.findall(r"retention\.time=(\d+)d", (ROOT / "docker-compose.yml").read_text())
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    windows = re.findall(r"\[(\d+)([mhd])\]", (ROOT / "prometheus/rules/slo.yml").read_text())

    assert windows
    assert max(int(number) * hours[unit] for number, unit in windows) <= 24 * int(kept)
