"""The alerts as they are shipped, in a real Prometheus and by real faults; a minute stands for an hour."""

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
from tests.waiting import eventually

SHORTER = {"5m": "5s", "30m": "30s", "1h": "60s", "6h": "360s", "1d": "1440s"}
FAULTS = {
    "AvailabilityBudgetBurn": {"fault": "database-timeout", "seconds": 600},
    "LatencyBudgetBurn": {"fault": "slow-query", "delay_ms": 1500, "seconds": 600},
}


def shortened(rules: str) -> str:
    """Make each window a sixtieth of what it is; one that is not known is an error."""
    return re.sub(r"\[([^\]]+)\]", lambda window: f"[{SHORTER[window[1]]}]", rules)


@pytest.fixture(scope="module")
def prometheus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a second Prometheus with short windows, while the service has 8 requests a second."""
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "rules.yml").write_text(shortened((ROOT / "prometheus/rules/slo.yml").read_text()))
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
        processes.answers("prometheus", f"{url}/-/ready")
        processes.start("load", locust(stack.api, 8, 8))
        yield url
        httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS, timeout=60).raise_for_status()


def firing(prometheus: str) -> dict[str, dict[str, Any]]:
    alerts = httpx2.get(f"{prometheus}/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


def answer(stack: Stack, language: str, query: str) -> object:
    """Ask a query of a runbook, of the stores that its reader has."""
    if language == "promql":
        return stores.query(stack.prometheus, query)
    parameters = {"query": query, "since": "10m", "limit": "10"}
    found = httpx2.get(f"{stack.loki}/loki/api/v1/query_range", params=parameters, timeout=30)
    return found.raise_for_status().json()["data"]["result"]


def test_a_shortened_file_has_no_long_window_left() -> None:
    """What is tested below is what is shipped, but for its windows: each of them, and nothing else, is shorter."""
    shipped = (ROOT / "prometheus/rules/slo.yml").read_text()
    windows = re.findall(r"\[(\w+)\]", shortened(shipped))

    assert set(SHORTER.values()) == set(windows)
    assert re.sub(r"\[\w+\]", "", shipped) == re.sub(r"\[\w+\]", "", shortened(shipped))
    with pytest.raises(KeyError):
        shortened("rate(x[3d])")
    alerts = [rule for group in yaml.safe_load(shipped)["groups"] for rule in group["rules"] if "alert" in rule]
    assert set(FAULTS) == {alert["alert"] for alert in alerts} == set(RUNBOOKS)


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_by_a_real_fault_and_ends(alert: str, stack: Stack, prometheus: str) -> None:
    """Not yet, now, over; and while it fires, every query of its runbook finds something."""
    requests = 'instance_slo:requests_total{slo="availability"} > 0'
    eventually(lambda: stores.query(prometheus, requests), "requests that count", seconds=60)
    eventually(lambda: alert not in firing(prometheus), "quiet before the fault", seconds=300)

    httpx2.post(f"{stack.api}/faults", json=FAULTS[alert], headers=FAULT_HEADERS, timeout=60).raise_for_status()
    found = eventually(lambda: firing(prometheus).get(alert), f"{alert}", seconds=300)
    assert {"alertname": alert, "job": "api", "severity": "page"}.items() <= found["labels"].items()
    assert "Requests to api " in found["annotations"]["description"]
    for language, query in queries(alert):
        eventually(partial(answer, stack, language, query), f"an answer to {query}", seconds=60)

    httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS, timeout=60).raise_for_status()
    eventually(lambda: alert not in firing(prometheus), f"the end of {alert}", seconds=300)
