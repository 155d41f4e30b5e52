"""The shipped alerts in a real Prometheus with real faults. Windows are shortened: an hour becomes a minute."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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

SHORTER = {"2m": "2s", "5m": "5s", "30m": "30s", "1h": "60s", "6h": "360s", "1d": "1440s"}
DURATION = re.compile(r"(?<=\[)\w+(?=\])|(?<=for: )\w+")
FAULTS = {
    "AvailabilityBudgetBurn": {"fault": "database-timeout", "seconds": 600},
    "LatencyBudgetBurn": {"fault": "slow-query", "delay_ms": 1500, "seconds": 600},
}


def shorten(rules: str) -> str:
    """Divide each window and `for` by 60; raise `KeyError` for an unknown duration."""
    return DURATION.sub(lambda duration: SHORTER[duration[0]], rules)


def shipped_rules() -> dict[str, str]:
    """Return the texts of the files with alerts, by file name."""
    return {name: (ROOT / "prometheus/rules" / name).read_text() for name in ("slo.yml", "targets.yml")}


@dataclass
class Shop:
    """A service that only the Prometheus of these tests scrapes, so that it can be stopped; any service would do."""

    processes: Processes
    targets: Path
    address: str

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        settings = {"PORT": self.address.rpartition(":")[2]}
        self.processes.start("shop", [sys.executable, "-m", "app", "payments"], settings)
        self.processes.wait_until_ready("shop", f"http://{self.address}/readyz")

    def list_targets(self, *targets: str) -> None:
        """Write the list of its targets, which Prometheus reads as soon as it changes."""
        changed = self.targets.with_suffix(".new")
        changed.write_text(json.dumps([{"targets": targets}]))
        changed.rename(self.targets)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Run the service, with a list of targets that has its address."""
    folder = tmp_path_factory.mktemp("shop")
    with Processes(folder) as processes:
        shop = Shop(processes, folder / "targets.json", f"127.0.0.1:{free_port()}")
        shop.start()
        shop.list_targets(shop.address)
        yield shop


@pytest.fixture(scope="module")
def prometheus(stack: Stack, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a second Prometheus with short windows, while the service gets 8 requests per second."""
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "rules").mkdir()
    for name, rules in shipped_rules().items():
        (folder / "rules" / name).write_text(shorten(rules))
    url = f"http://127.0.0.1:{free_port()}"
    targets = {"api": stack.api.removeprefix("http://"), "prometheus": url.removeprefix("http://")}
    jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [*jobs, {"job_name": "shop", "file_sd_configs": [{"files": [str(shop.targets)]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
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


def run_query(stack: Stack, language: str, query: str, since: str = "10m") -> object:
    """Run a query of a runbook, and return its result."""
    if language == "promql":
        return stores.query(stack.prometheus, query)
    parameters = {"query": query, "since": since, "limit": "10"}
    response = httpx2.get(f"{stack.loki}/loki/api/v1/query_range", params=parameters, timeout=30)
    return response.raise_for_status().json()["data"]["result"]


def test_shortened_rules_differ_only_in_windows() -> None:
    """The rules in these tests are the shipped ones with shorter durations, and they contain all alerts."""
    files = shipped_rules()
    shipped = "".join(files.values())

    assert set(SHORTER.values()) == set(DURATION.findall(shorten(shipped)))
    assert DURATION.sub("", shipped) == DURATION.sub("", shorten(shipped))
    with pytest.raises(KeyError):
        shorten("rate(x[3d])")
    groups = [group for text in files.values() for group in yaml.safe_load(text)["groups"]]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert {*FAULTS, "ServiceDown"} == alerts == set(RUNBOOKS)


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


def test_stopped_service_fires_and_resolves(stack: Stack, prometheus: str, shop: Shop) -> None:
    """A service that stops is down until it runs again, and all queries of the runbook have results."""
    wait_for(lambda: stores.query(prometheus, 'up{job="shop"} == 1'), "a scrape")
    wait_for(lambda: "ServiceDown" not in firing(prometheus), "no alert before the stop")

    shop.processes.stop("shop")
    found = wait_for(lambda: firing(prometheus).get("ServiceDown"), "ServiceDown")
    assert {"alertname": "ServiceDown", "job": "shop", "severity": "page"} == found["labels"]
    assert "No replica of shop " in found["annotations"]["description"]
    dashboard = json.loads((ROOT / "grafana/dashboards/slo.json").read_text())
    (panel,) = [panel for panel in dashboard["panels"] if panel.get("title") == "Alerts firing now"]
    (row,) = stores.query(prometheus, panel["targets"][0]["expr"])
    assert {"alertname": "ServiceDown", "job": "shop"}.items() <= row["metric"].items()
    assert found["annotations"]["runbook_url"].endswith(f"={row['metric']['runbook']}")
    for language, query in queries("ServiceDown"):
        wait_for(partial(run_query, stack, language, query, since="1d"), f"a result of {query}")

    shop.start()
    wait_for(lambda: "ServiceDown" not in firing(prometheus), "the end of ServiceDown")


def test_service_without_targets_fires_and_resolves(prometheus: str, shop: Shop) -> None:
    """A service whose last address disappears, as that of a stopped container does in Docker, is down."""
    wait_for(lambda: stores.query(prometheus, 'up{job="shop"} == 1'), "a scrape")
    wait_for(lambda: "ServiceDown" not in firing(prometheus), "no alert before")

    shop.list_targets()
    found = wait_for(lambda: firing(prometheus).get("ServiceDown"), "ServiceDown")
    assert {"alertname": "ServiceDown", "job": "shop", "severity": "page"} == found["labels"]
    assert [] == stores.query(prometheus, 'up{job="shop"}')

    shop.list_targets(shop.address)
    wait_for(lambda: "ServiceDown" not in firing(prometheus), "the end of ServiceDown")
