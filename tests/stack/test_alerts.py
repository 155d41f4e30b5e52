"""The shipped alerts in a real Prometheus with real faults. Windows are shortened: an hour becomes a minute."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.app.faults import FAULT_HEADERS
from tests.load import locust
from tests.processes import Processes, free_port
from tests.runbooks import RUNBOOKS, queries
from tests.stack import stores
from tests.stack.native import ROOT, Stack, server
from tests.waiting import wait_for

SHORTER = {"5m": "5s", "30m": "30s", "1h": "60s", "6h": "360s", "1d": "1440s"}
FAULTS = {
    "AvailabilityBudgetBurn": {"fault": "database-timeout", "seconds": 600},
    "LatencyBudgetBurn": {"fault": "slow-query", "delay_ms": 1500, "seconds": 600},
}


def shorten(rules: str) -> str:
    """Divide each window by 60; raise `KeyError` for an unknown window."""
    return re.sub(r"\[([^\]]+)\]", lambda window: f"[{SHORTER[window[1]]}]", rules)


@pytest.fixture(scope="module")
def prometheus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a second Prometheus with short windows, while the service gets 8 requests per second."""
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "rules.yml").write_text(shorten((ROOT / "prometheus/rules/slo.yml").read_text()))
    target = stack.api.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "api", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    url = f"http://127.0.0.1:{free_port()}"
    program: list[str | Path] = [server("prometheus"), f"--config.file={folder}/prometheus.yml"]
    options = [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={url.removeprefix('http://')}"]
    httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS, timeout=60).raise_for_status()
    with Processes(folder) as processes:
        processes.start("prometheus", [*program, *options])
        processes.wait_until_ready("prometheus", f"{url}/-/ready")
        processes.start("load", locust(stack.api, 8, 8))
        yield url
        httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS, timeout=60).raise_for_status()


def firing(prometheus: str) -> dict[str, dict[str, Any]]:
    alerts = httpx2.get(f"{prometheus}/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


def run_query(stack: Stack, language: str, query: str) -> object:
    """Run a query of a runbook, and return its result."""
    if language == "promql":
        return stores.query(stack.prometheus, query)
    parameters = {"query": query, "since": "10m", "limit": "10"}
    response = httpx2.get(f"{stack.loki}/loki/api/v1/query_range", params=parameters, timeout=30)
    return response.raise_for_status().json()["data"]["result"]


def test_shortened_rules_differ_only_in_windows() -> None:
    """The rules in these tests are the shipped ones with shorter windows, and they contain all alerts."""
    shipped = (ROOT / "prometheus/rules/slo.yml").read_text()
    windows = re.findall(r"\[(\w+)\]", shorten(shipped))

    assert set(SHORTER.values()) == set(windows)
    assert re.sub(r"\[\w+\]", "", shipped) == re.sub(r"\[\w+\]", "", shorten(shipped))
    with pytest.raises(KeyError):
        shorten("rate(x[3d])")
    alerts = [rule for group in yaml.safe_load(shipped)["groups"] for rule in group["rules"] if "alert" in rule]
    assert set(FAULTS) == {alert["alert"] for alert in alerts} == set(RUNBOOKS)


@pytest.mark.parametrize("alert", FAULTS)
def test_alert_fires_and_resolves(alert: str, stack: Stack, prometheus: str) -> None:
    """A fault fires the alert, its end resolves the alert, and meanwhile all queries of the runbook have results."""
    requests = 'instance_slo:requests_total{slo="availability"} > 0'
    wait_for(lambda: stores.query(prometheus, requests), "counted requests", seconds=60)
    wait_for(lambda: alert not in firing(prometheus), "no alert before the fault", seconds=300)

    httpx2.post(f"{stack.api}/faults", json=FAULTS[alert], headers=FAULT_HEADERS, timeout=60).raise_for_status()
    found = wait_for(lambda: firing(prometheus).get(alert), f"{alert}", seconds=300)
    assert {"alertname": alert, "job": "api", "severity": "page"}.items() <= found["labels"].items()
    assert "Requests to api " in found["annotations"]["description"]
    for language, query in queries(alert):
        wait_for(partial(run_query, stack, language, query), f"a result of {query}", seconds=60)

    httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS, timeout=60).raise_for_status()
    wait_for(lambda: alert not in firing(prometheus), f"the end of {alert}", seconds=300)
