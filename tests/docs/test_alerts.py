"""Alerts and runbooks: every alert has a runbook, working links, and texts that match the rules."""

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


def test_every_alert_has_a_runbook_and_is_documented() -> None:
    """Alerts and recording rules have a runbook and a row in the reference, and there are no others."""
    assert set(ALERTS) == set(RUNBOOKS) == set(table("Alerts"))
    recorded = {rule["record"] for rule in RULES["slo"][0]["rules"] if "record" in rule}
    assert recorded == set(table("Recorded series"))


@pytest.mark.parametrize("alert", ALERTS)
def test_runbook_has_four_sections(alert: str) -> None:
    """A runbook has the sections meaning, impact, diagnosis (queries for both stores, commands) and mitigation."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS[alert], re.MULTILINE)

    assert [alert, "Meaning", "Impact", "Diagnosis", "Mitigation"] == headings
    assert {"promql", "logql"} == {language for language, _ in queries(alert)}
    assert ("triage explain" in RUNBOOKS[alert]) == alert.endswith("BudgetBurn")
    assert re.search(r"```sh\ndocker compose ", RUNBOOKS[alert])


@pytest.mark.parametrize(
    ("alert", "dashboard", "title"),
    [
        ("AvailabilityBudgetBurn", "service", "5xx responses by route"),
        ("LatencyBudgetBurn", "service", "Request latency"),
        ("ServiceDown", "stack-health", "Targets of Prometheus"),
    ],
)
def test_alert_links_to_its_panels(alert: str, dashboard: str, title: str) -> None:
    """An alert links to its runbook and to a panel with its cause; only the summary is the same for all services."""
    annotations = ALERTS[alert]
    (runbook,) = re.findall(r"^/d/slo/slo\?viewPanel=(\d+)$", annotations["runbook_url"])
    panels = {panel["id"]: panel.get("title", "") for panel in DASHBOARDS["slo.json"]["panels"]}
    causes = {panel["id"]: panel.get("title", "") for panel in DASHBOARDS[f"{dashboard}.json"]["panels"]}

    assert alert == panels[int(runbook)]
    assert dashboard == annotations["__dashboardUid__"]
    assert causes[int(annotations["__panelId__"])].startswith(title)
    assert annotations["dashboard"].startswith(f"/d/{dashboard}/{dashboard}?")
    assert "{{" not in annotations["summary"]
    assert "{{ $labels.job }}" in annotations["description"]
    assert "var-service={{ $labels.job }}" in annotations["dashboard"]


def test_runbook_in_grafana_uses_the_selected_service() -> None:
    """Links in a runbook panel are relative, and its queries select the service of the alert."""
    panels = DASHBOARDS["slo.json"]["panels"]
    runbooks = [panel["options"]["content"] for panel in panels if panel.get("title") in RUNBOOKS]

    assert len(ALERTS) == len(runbooks)
    for runbook in runbooks:
        assert "localhost:3000" not in runbook
        assert not re.search(r'"api"|%22api%5C%22|var-service=api', runbook)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective["labels"]["slo"])
def test_documented_objectives_match_the_rules(objective: dict[str, Any]) -> None:
    """The objective is the same in the rules, on the dashboard, in the reference, in the alert and in its runbook."""
    (budget,) = re.findall(r"^vector\((.+)\)$", objective["expr"])
    percentage = f"{100 - 100 * float(budget):g} %"
    name = f"{objective['labels']['slo'].capitalize()}BudgetBurn"
    introduction = DASHBOARDS["slo.json"]["panels"][0]["options"]["content"]
    reference = (ROOT / "docs/reference.md").read_text()

    for text in (introduction, reference, ALERTS[name]["description"], RUNBOOKS[name]):
        assert re.search(rf"(?<![\d.]){re.escape(percentage)}", text)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective["labels"]["slo"])
def test_documented_minimum_matches_the_rules(objective: dict[str, Any]) -> None:
    """The number of bad requests that an alert needs is the same in both windows, in its runbook and on other pages."""
    name = f"{objective['labels']['slo'].capitalize()}BudgetBurn"
    (rule,) = [rule for rule in RULES["slo"][0]["rules"] if rule.get("alert") == name]
    long, longer = re.findall(r"requests_bad_total\[\w+\]\)\) >= (\d+)", rule["expr"])
    introduction = DASHBOARDS["slo.json"]["panels"][0]["options"]["content"]

    assert long == longer
    for text in (introduction, table("Alerts")["AvailabilityBudgetBurn"][0], " ".join(RUNBOOKS[name].split())):
        assert [long] == re.findall(r"[Aa]t least (\d+) requests", text)


def test_documented_duration_of_service_down() -> None:
    """The time until `ServiceDown` fires is the same in the rule and in its row."""
    (rule,) = [rule for rule in RULES["targets"][0]["rules"] if rule.get("alert") == "ServiceDown"]

    assert [rule["for"]] == [
        f"{number}m" for number in re.findall(r"for (\d+) minutes", table("Alerts")["ServiceDown"][0])
    ]


def test_metrics_of_the_stack_are_stored() -> None:
    """Prometheus stores every metric of the stack itself that rules and dashboards use; it drops most of the others."""
    jobs = yaml.safe_load((ROOT / "prometheus/scrape/compose.yml").read_text())["scrape_configs"]
    (kept,) = {rule["regex"] for job in jobs for rule in job.get("metric_relabel_configs", [])}
    texts = [file.read_text() for file in (*FILES, *(ROOT / "grafana/dashboards").glob("*.json"))]
    used = {name for text in texts for name in re.findall(r"\b(?:prometheus|loki|alloy)_\w+(?=[{\[ )\"])", text)}

    assert "prometheus_target_scrape_pool_targets" in used
    assert set() == {name for name in used if not re.fullmatch(kept, name)}


def test_objective_is_a_bucket_bound(payments: Service) -> None:
    """The rules use a bucket bound exactly as the service exports it: for Prometheus, `0.50` is a different label."""
    payments.client.get("/nothing-is-here")
    bounds = {sample.labels["le"] for sample in payments.samples() if sample.name.endswith("duration_seconds_bucket")}
    used = re.findall(r'le="([^"]+)"', (ROOT / "prometheus/rules/slo.yml").read_text())

    assert ["0.5"] == used
    assert set(used) <= bounds


def test_windows_fit_into_the_retention() -> None:
    """No window is longer than the retention of Prometheus, which would shorten it silently."""
    (days,) = re.findall(r"retention\.time=(\d+)d", (ROOT / "docker-compose.yml").read_text())
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    windows = re.findall(r"\[(\d+)([mhd])\]", (ROOT / "prometheus/rules/slo.yml").read_text())

    assert windows
    assert max(int(number) * hours[unit] for number, unit in windows) <= 24 * int(days)
