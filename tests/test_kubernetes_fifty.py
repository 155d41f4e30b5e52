"""deploy/kubernetes/ for fifty pods: it agrees with the configuration of the stack, of which it holds no copies."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes import build
from tests.compose import compose

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAY = KUBERNETES / "overlays/fifty"
#: Values of the chart that only a larger Loki needs.
LONGER = {"retention_period"}


def load(path: str) -> Any:
    """Return the parsed content of a file of this project."""
    return yaml.safe_load((ROOT / path).read_text())


def objects(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects in a file of the overlay, by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all((OVERLAY / name).read_text())}


def version(service: str) -> str:
    """Return the version of an image in docker-compose.yml."""
    tag: str = compose()["services"][service]["image"].rpartition(":")[2]
    return tag


def test_rules_are_up_to_date() -> None:
    """`python -m deploy.kubernetes.build` would not change the committed rules."""
    assert build.build_rules() == build.FILE.read_text()


def test_prometheus_settings() -> None:
    """The resource has the settings of prometheus.yml and docker-compose.yml, and stores exemplars."""
    shipped = load("prometheus/prometheus.yml")["global"]
    spec = objects("prometheus.yaml")["Prometheus", "spike-to-log"]["spec"]

    assert shipped == {
        "scrape_interval": spec["scrapeInterval"],
        "scrape_timeout": spec["scrapeTimeout"],
        "evaluation_interval": spec["evaluationInterval"],
    }
    assert version("prometheus") == spec["version"] == spec["image"].rpartition(":")[2]
    assert ["exemplar-storage"] == spec["enableFeatures"]
    assert spec["enableRemoteWriteReceiver"]
    assert spec["enableOTLPReceiver"]


def test_exemplars_of_one_hour() -> None:
    """One hour of 50 pods is kept, by the formula of prometheus.yml, which says 20 buckets per replica and scrape."""
    exemplars = objects("prometheus.yaml")["Prometheus", "spike-to-log"]["spec"]["exemplars"]["maxSize"]
    scrapes = 3600 // int(load("prometheus/prometheus.yml")["global"]["scrape_interval"].rstrip("s"))

    assert 50 * 20 * scrapes == exemplars


def test_jobs() -> None:
    """Each job of docker compose has a PodMonitor of the same name, with the same limit and metrics."""
    monitors = {name: each["spec"] for (_, name), each in objects("monitors.yaml").items()}
    jobs = {job["job_name"]: job for job in load("prometheus/scrape/compose.yml")["scrape_configs"]}

    assert jobs.keys() == monitors.keys()
    assert {name: job.get("sample_limit") for name, job in jobs.items()} == {
        name: spec.get("sampleLimit") for name, spec in monitors.items()
    }


@pytest.mark.parametrize("service", ["api", "payments"])
def test_exemplars_are_scraped(service: str) -> None:
    """Services are scraped in the format with exemplars, and `instance` is the pod's name, as in their lines."""
    spec = objects("monitors.yaml")["PodMonitor", service]["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    labels = {rule["targetLabel"]: rule["sourceLabels"] for rule in endpoint["relabelings"]}

    assert ["OpenMetricsText1.0.0"] == spec["scrapeProtocols"]
    assert ["__meta_kubernetes_pod_name"] == labels["instance"]
    assert ["__meta_kubernetes_pod_label_app_kubernetes_io_name"] == labels["job"]


def test_prometheus_reads_only_pods() -> None:
    """The role of Prometheus permits only what the discovery of pods needs, and only in its namespace."""
    found = objects("prometheus.yaml")

    assert [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}] == found["Role", "prometheus"][
        "rules"
    ]
    assert not [kind for kind, _ in found if kind.startswith("Cluster")]


def test_loki_limits() -> None:
    """The replicated Loki has the limits and schema of loki.yml, apart from a longer retention."""
    shipped, values = load("loki/loki.yml"), load("deploy/kubernetes/helm/loki.yaml")["loki"]

    differing = {
        name
        for name, value in shipped["limits_config"].items()
        if values["limits_config"].get(name, "missing") != value
    }
    assert differing == LONGER
    assert values["limits_config"].keys() == shipped["limits_config"].keys()
    (schema,) = shipped["schema_config"]["configs"]
    assert [{**schema, "object_store": "s3"}] == values["schemaConfig"]["configs"]
    assert version("loki") == values["image"]["tag"]
    assert shipped["auth_enabled"] is values["auth_enabled"] is False
