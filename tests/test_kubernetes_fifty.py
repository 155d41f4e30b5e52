"""deploy/kubernetes/ for fifty pods: valid objects, which agree with the configuration of the stack on one machine."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes.build import FILE, build_rules
from tests.compose import ROOT, compose, load_yaml
from tests.kustomize import OVERLAYS, build, environment, pod_specs, spare_connections
from tests.test_kubernetes import allows

REPLICAS = 50
#: The limit of Kubernetes for a ConfigMap.
MEBIBYTE = 1 << 20


@pytest.fixture
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects of the overlay by kind and name; the namespace of Alloy is left out."""
    return {
        (each["kind"], each["metadata"]["name"]): each
        for each in build("overlays/fifty")
        if each["metadata"].get("namespace") != "spike-to-log-alloy"
    }


def resources(name: str) -> dict[str, dict[str, Any]]:
    """Return the `spec` of the custom resources in a file of the overlay, by name."""
    content = (OVERLAYS / "overlays/fifty/stack" / name).read_text()
    return {each["metadata"]["name"]: each["spec"] for each in yaml.safe_load_all(content) if "spec" in each}


def version(service: str) -> str:
    """Return the version of an image in docker-compose.yml."""
    tag: str = compose()["services"][service]["image"].rpartition(":")[2]
    return tag


def test_rules_are_up_to_date() -> None:
    """`make rules` would not change the committed rules."""
    assert build_rules() == FILE.read_text()


def test_prometheus_settings() -> None:
    """The resource has the settings of prometheus.yml and docker-compose.yml, and stores exemplars."""
    shipped = load_yaml("prometheus/prometheus.yml")["global"]
    spec = resources("prometheus.yaml")["spike-to-log"]

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
    """One hour of 50 pods is kept, by the formula of prometheus.yml with 20 buckets per replica and scrape."""
    exemplars = resources("prometheus.yaml")["spike-to-log"]["exemplars"]["maxSize"]
    scrapes = 3600 // int(load_yaml("prometheus/prometheus.yml")["global"]["scrape_interval"].rstrip("s"))

    assert 50 * 20 * scrapes == exemplars


def test_jobs() -> None:
    """Each job of docker compose has a PodMonitor of the same name, with the same limit and metrics."""
    monitors = resources("monitors.yaml")
    jobs = {job["job_name"]: job for job in load_yaml("prometheus/scrape/compose.yml")["scrape_configs"]}

    assert jobs.keys() == monitors.keys()
    assert {name: job.get("sample_limit") for name, job in jobs.items()} == {
        name: spec.get("sampleLimit") for name, spec in monitors.items()
    }


@pytest.mark.parametrize("service", ["api", "payments"])
def test_exemplars_are_scraped(service: str) -> None:
    """Services are scraped in the format with exemplars, and `instance` is the pod's name, as in their lines."""
    spec = resources("monitors.yaml")[service]
    (endpoint,) = spec["podMetricsEndpoints"]
    labels = {rule["targetLabel"]: rule["sourceLabels"] for rule in endpoint["relabelings"]}

    assert ["OpenMetricsText1.0.0"] == spec["scrapeProtocols"]
    assert ["__meta_kubernetes_pod_name"] == labels["instance"]
    assert ["__meta_kubernetes_pod_label_app_kubernetes_io_name"] == labels["job"]


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_objects_are_valid(version: str) -> None:
    """All objects match the schemas of Kubernetes, apart from those of the Prometheus operator."""
    for each in build("overlays/fifty"):
        if not each["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(each, version, strict=True)


def test_api_permissions() -> None:
    """Prometheus may list and watch pods, Grafana reads ConfigMaps, and nothing more is permitted."""
    found = build("overlays/fifty")
    pods = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    maps = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
    roles = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each["rules"]
        for each in found
        if each["kind"] == "Role"
    }

    assert {
        ("spike-to-log", "prometheus"): pods,
        ("spike-to-log-alloy", "prometheus"): pods,
        ("spike-to-log", "grafana"): maps,
    } == roles
    assert not [each for each in found if each["kind"].startswith("ClusterRole")]


@pytest.mark.parametrize(
    ("source", "target", "port", "allowed"),
    [
        ("alloy", "loki", 3100, True),
        ("loki", "loki", 9095, True),
        ("loki", "loki", 7946, True),
        ("loki", "prometheus", 9090, True),
        ("loadtest", "prometheus", 9090, True),
        ("prometheus", "api", 8000, True),
        ("prometheus", "payments", 8001, True),
        ("prometheus", "loki", 3100, True),
        ("prometheus", "alloy", 12345, True),
        ("prometheus", "prometheus", 9090, True),
        ("grafana", "loki", 3100, True),
        ("grafana", "prometheus", 9090, True),
        ("api", "postgres", 5432, True),
        ("grafana", "postgres", 5432, False),
        ("loadtest", "loki", 3100, False),
        ("alloy", "prometheus", 9090, False),
    ],
)
def test_connections_are_allowed(source: str, target: str, port: int, *, allowed: bool) -> None:
    """Policies allow every connection that is needed, in both directions, and others are refused."""
    assert allowed is allows(build("overlays/fifty"), source, target, port)


def test_connections_of_all_pods_are_accepted(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The database accepts the connections of all pods, also during a rolling update."""
    assert REPLICAS == objects["Deployment", "api"]["spec"]["replicas"]
    assert spare_connections(build("overlays/fifty"), REPLICAS) >= 0


def test_config_maps_for_the_charts(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The charts find dashboards, data sources and rules by fixed names and by the labels in their values."""
    grafana, loki = load_yaml("deploy/kubernetes/helm/grafana.yaml"), load_yaml("deploy/kubernetes/helm/loki.yaml")
    dashboards = objects["ConfigMap", "grafana-dashboards"]
    assert {file.name for file in ROOT.glob("grafana/dashboards/*.json")} == dashboards["data"].keys()
    assert sum(map(len, dashboards["data"].values())) < MEBIBYTE
    for sidecar, name in (("dashboards", "grafana-dashboards"), ("datasources", "grafana-datasources")):
        label = {grafana["sidecar"][sidecar]["label"]: grafana["sidecar"][sidecar]["labelValue"]}
        assert label.items() <= objects["ConfigMap", name]["metadata"]["labels"].items()
    (volume,) = loki["singleBinary"]["extraVolumes"]
    assert {"lines.yml"} == objects["ConfigMap", volume["configMap"]["name"]]["data"].keys()
    variables = re.findall(r"url: \$(\w+)", objects["ConfigMap", "grafana-datasources"]["data"]["datasources.yml"])
    assert set(variables) == grafana["env"].keys()


def test_alloy_of_the_chart_reads_the_same_lines() -> None:
    """The collector of k8s-monitoring reads the same files as the DaemonSet, and sends them to the same Loki."""
    (alloy,) = pod_specs(build("overlays/fifty"))["alloy"]["containers"]
    collector = load_yaml("deploy/kubernetes/helm/k8s-monitoring.yaml")["collectors"]["alloy"]["alloy"]

    own = {name: value for name, value in environment(alloy).items() if name != "GOMEMLIMIT"}
    assert own == {each["name"]: each["value"] for each in collector["extraEnv"]}
    assert alloy["resources"] == collector["resources"]


@pytest.mark.parametrize("service", ["loki", "grafana"])
def test_versions_of_the_charts(service: str) -> None:
    """The charts run the versions of docker-compose.yml."""
    values = load_yaml(f"deploy/kubernetes/helm/{service}.yaml")
    assert version(service) == values.get("loki", values)["image"]["tag"]


def test_loki_limits() -> None:
    """The replicated Loki has the limits and schema of loki.yml, apart from a longer retention."""
    shipped, values = load_yaml("loki/loki.yml"), load_yaml("deploy/kubernetes/helm/loki.yaml")["loki"]
    limits, same = shipped["limits_config"], values["limits_config"]

    assert limits.keys() == same.keys()
    assert {"retention_period"} == {name for name in limits if limits[name] != same[name]}
    (schema,) = shipped["schema_config"]["configs"]
    assert [{**schema, "object_store": "s3"}] == values["schemaConfig"]["configs"]
    assert shipped["auth_enabled"] is values["auth_enabled"] is False
