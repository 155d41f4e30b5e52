"""deploy/kubernetes/: valid objects without privileges, which agree with docker-compose.yml."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from tests.compose import ROOT, compose, load_yaml
from tests.kustomize import OVERLAYS, build, environment, pod_specs, spare_connections

OLDEST = "1.30"  # in docs/kubernetes.md: the first version with `sleep` in `preStop`
NAMESPACES = {"spike-to-log": "restricted", "spike-to-log-alloy": "privileged"}
NAME = "app.kubernetes.io/name"


@pytest.fixture
def objects() -> list[dict[str, Any]]:
    """Return the objects of the overlay `small`, which contains the base."""
    return build("overlays/small")


@pytest.fixture
def containers(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return all containers by name, the init container of Alloy included."""
    return {
        container["name"]: container
        for spec in pod_specs(objects).values()
        for container in [*spec.get("initContainers", []), *spec["containers"]]
    }


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("overlay", ["base", "overlays/small"])
def test_objects_are_valid(overlay: str, version: str) -> None:
    """All objects match the schemas of Kubernetes, without unknown fields."""
    for each in build(overlay):
        kubernetes_validate.validate(each, version, strict=True)


def test_example_of_an_overlay(tmp_path: Path) -> None:
    """The overlay in docs/kubernetes.md replaces the database, the image and the allowed host names."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/kubernetes.md").read_text(), re.DOTALL)
    base = os.path.relpath(OVERLAYS / "base", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("../../base", base))
    objects = build(tmp_path)
    for each in objects:
        kubernetes_validate.validate(each, OLDEST, strict=True)
    specs = pod_specs(objects)
    assert {"api", "payments"} == specs.keys()
    (container,) = specs["api"]["containers"]
    assert "registry.example/spike-to-log:1.0" == container["image"]
    assert "api,shop.example" == environment(container)["ALLOWED_HOSTS"]
    egress = of_kind(objects, "NetworkPolicy")["api"]["spec"]["egress"]
    assert [{"ports": [{"port": 5432}]}] == [rule for rule in egress if "to" not in rule]


def test_containers_are_hardened(objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]) -> None:
    """Containers have no privileges, a read-only root file system, and limits and requests of memory and CPU."""
    for name, container in containers.items():
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["allowPrivilegeEscalation"] is False, name
        assert ["ALL"] == security["capabilities"]["drop"], name
        assert {"cpu", "memory"} == container["resources"]["limits"].keys(), name
        assert {"cpu", "memory"} == container["resources"]["requests"].keys(), name
    for name, spec in pod_specs(objects).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"], name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        # Variables such as API_PORT=tcp://10.96.0.1:8000 would be read as settings.
        assert spec["enableServiceLinks"] is False, name


def test_the_only_exceptions_are_in_the_namespace_of_alloy(
    objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]
) -> None:
    """Only Alloy reads files of the node, and only its init container is root, with one capability."""
    levels = {
        name: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name, each in of_kind(objects, "Namespace").items()
    }
    assert NAMESPACES == levels
    assert {"alloy"} == {
        each["metadata"]["name"] for each in objects if each["metadata"].get("namespace") == "spike-to-log-alloy"
        if each["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}
    }  # fmt: skip
    on_node = {name for name, spec in pod_specs(objects).items() for each in spec["volumes"] if "hostPath" in each}
    assert {"alloy"} == on_node
    (pods,) = [each for each in containers["alloy"]["volumeMounts"] if each["name"] == "pods"]
    assert pods["readOnly"] is True
    overridden = {name for name, each in containers.items() if "runAsUser" in each["securityContext"]}
    added = {name: each["securityContext"]["capabilities"].get("add") for name, each in containers.items()}
    assert {"positions"} == overridden
    assert {"positions": ["CHOWN"]} == {name: each for name, each in added.items() if each}


def test_api_permissions(objects: list[dict[str, Any]]) -> None:
    """Only Prometheus has a token for the API of Kubernetes. It may list and watch the pods of its namespace."""
    assert {"prometheus"} == {
        name for name, spec in pod_specs(objects).items() if spec.get("automountServiceAccountToken") is not False
    }
    (role,) = of_kind(objects, "Role").values()
    assert [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}] == role["rules"]
    (binding,) = of_kind(objects, "RoleBinding").values()
    assert [("ServiceAccount", "prometheus")] == [(each["kind"], each["name"]) for each in binding["subjects"]]
    assert not of_kind(objects, "ClusterRole")


def test_no_passwords(objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]) -> None:
    """There is no Secret, and the only variables from one are those of the database."""
    assert not of_kind(objects, "Secret")
    secret = {
        (name, each["name"]): each["valueFrom"]["secretKeyRef"]["key"]
        for name, container in containers.items()
        for each in container.get("env", [])
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert {("api", "DATABASE_URL"): "url", ("postgres", "POSTGRES_PASSWORD"): "password"} == secret


def test_images_are_those_of_compose(containers: dict[str, dict[str, Any]]) -> None:
    """Every image has the name and version of docker-compose.yml."""
    services = compose()["services"]
    for name, container in containers.items():
        assert services[name if name in services else "alloy"]["image"] == container["image"], name


def test_limits_are_those_of_compose(containers: dict[str, dict[str, Any]]) -> None:
    """Memory and CPU are limited as in docker-compose.yml, except for those of the database."""
    services = compose()["services"]
    for name in containers.keys() & services.keys() - {"postgres"}:
        limits = containers[name]["resources"]["limits"]
        assert services[name]["mem_limit"] == limits["memory"].lower().removesuffix("i"), name
        cpus = float(limits["cpu"].removesuffix("m")) / (1000 if limits["cpu"].endswith("m") else 1)
        assert services[name]["cpus"] == cpus, name


#: Variables with another value than in docker-compose.yml, or without a value here, and why.
DIFFERENT = {
    "DATABASE_URL",  # from a Secret, because the database has a password here
    "POSTGRES_PASSWORD",
    "POSTGRES_PASSWORD_FILE",
    "DATABASE_POOL_SIZE",  # for more replicas
    "INSTANCE",  # the name of the pod
    "DOCKER_API",  # the source of lines
    "COMPOSE_PROJECT_NAME",
    "LINES",
    "LOAD_WORKERS",  # no workers
    # Names of servers in another namespace.
    "ALLOY_URL",
    "LOKI_URL",
    # Published ports have no variables here.
    "API_PORT",
    "GRAFANA_PORT",
    "LOCUST_PORT",
    # Settings of the tour's output with the same values as their defaults.
    "LOAD",
    "LOAD_INCIDENTS",
}


def test_environment_is_that_of_compose(containers: dict[str, dict[str, Any]]) -> None:
    """Environment variables have the same values as with docker-compose.yml, except for those that are listed above."""
    services = compose()["services"]
    for name in containers.keys() & services.keys():
        expected = {
            key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
            for key, value in services[name].get("environment", {}).items()
            if key not in DIFFERENT
        }
        actual = {key: value for key, value in environment(containers[name]).items() if key not in DIFFERENT}
        assert expected == actual, name


def test_commands_are_those_of_compose(containers: dict[str, dict[str, Any]]) -> None:
    """The servers and services have the same options as with docker-compose.yml."""
    services = compose()["services"]
    for name in containers.keys() & services.keys() - {"postgres", "tour"}:
        service, container = services[name], containers[name]
        assert service.get("entrypoint") == container.get("command"), name
        assert service.get("command") == container.get("args"), name


def test_instance_is_the_name_of_the_pod(objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]) -> None:
    """Lines have the name of the pod as `instance`, and so have the targets of Prometheus."""
    for name in ("api", "payments", "loadtest"):
        (instance,) = [each for each in containers[name]["env"] if each["name"] == "INSTANCE"]
        assert {"fieldRef": {"fieldPath": "metadata.name"}} == _without(instance["valueFrom"], "apiVersion"), name
    jobs = _jobs()
    for name in ("api", "payments"):
        assert {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "instance"} in jobs[name][
            "relabel_configs"
        ]
        assert {"name": "http", "containerPort": int(environment(containers[name])["PORT"])} == _without(
            containers[name]["ports"][0], "protocol"
        )
    assert objects


def _without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name != key}


def _jobs() -> dict[str, dict[str, Any]]:
    content = load_yaml("prometheus/kubernetes.yml")
    return {job["job_name"]: job for job in content["scrape_configs"]}


def test_targets_are_those_of_compose() -> None:
    """Prometheus has the same jobs with the same limits and metrics as with docker-compose.yml."""
    content = load_yaml("prometheus/scrape/compose.yml")
    jobs = _jobs()
    assert {job["job_name"] for job in content["scrape_configs"]} == jobs.keys()
    for job in content["scrape_configs"]:
        for key in ("sample_limit", "metric_relabel_configs"):
            assert job.get(key) == jobs[job["job_name"]].get(key), job["job_name"]


def test_lines_of_the_same_containers_are_collected(containers: dict[str, dict[str, Any]]) -> None:
    """Alloy reads the lines of the containers that have the label `logging=alloy` in docker-compose.yml."""
    pattern = environment(containers["alloy"])["LINES"]
    (names,) = re.findall(r"/var/log/pods/spike-to-log_\*/\{(.*)\}/\*\.log", pattern)
    labelled = {name for name, each in compose()["services"].items() if each.get("labels") == {"logging": "alloy"}}
    assert labelled == set(names.split(","))


def test_all_files_are_in_config_maps(objects: list[dict[str, Any]]) -> None:
    """Every rule, dashboard and file of the gateway is in a ConfigMap, and every mounted ConfigMap exists."""
    maps = of_kind(objects, "ConfigMap")
    keys = {re.sub(r"-[a-z0-9]{10}$", "", name): each["data"].keys() for name, each in maps.items()}
    folders = {
        "prometheus-rules": "prometheus/rules/*.yml",
        "loki-rules": "loki/rules/fake/*.yml",
        "grafana-dashboards": "grafana/dashboards/*.json",
        "gateway": "gateway/*.conf",
    }
    for name, pattern in folders.items():
        assert {file.name for file in ROOT.glob(pattern)} == keys[name], name
    mounted = {
        each["configMap"]["name"]
        for spec in pod_specs(objects).values()
        for each in spec["volumes"]
        if "configMap" in each
    }
    assert maps.keys() == mounted


def test_selectors_match_pods(objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]) -> None:
    """Services, budgets and topology constraints select the pods of the workload with their name."""
    workloads = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}
    }
    for name, labels in workloads.items():
        assert name == labels[NAME]
    for name, service in of_kind(objects, "Service").items():
        assert {NAME: name.removesuffix("-nodes")} == service["spec"]["selector"]
        named = {each["name"]: each["containerPort"] for each in containers[name.removesuffix("-nodes")]["ports"]}
        assert {each["targetPort"]: each["port"] for each in service["spec"]["ports"]} == named, name
    assert {NAME: "api"} == of_kind(objects, "PodDisruptionBudget")["api"]["spec"]["selector"]["matchLabels"]
    for each in pod_specs(objects)["api"]["topologySpreadConstraints"]:
        assert {NAME: "api"} == each["labelSelector"]["matchLabels"]


def test_connections_of_all_replicas_are_accepted() -> None:
    """The database accepts the connections of all replicas, also during a rolling update."""
    objects = build("base")
    replicas = of_kind(objects, "HorizontalPodAutoscaler")["api"]["spec"]["maxReplicas"]
    assert spare_connections(objects, replicas) >= 0
    assert "replicas" not in of_kind(objects, "Deployment")["api"]["spec"]  # it would override the autoscaler


def test_requests_finish_before_the_kill(objects: list[dict[str, Any]]) -> None:
    """Pods get the time of docker-compose.yml to finish requests after their removal from the Service."""
    for name in ("api", "payments"):
        spec = pod_specs(objects)[name]
        removal = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace = int(compose()["services"][name]["stop_grace_period"].removesuffix("s"))
        assert removal + grace <= spec["terminationGracePeriodSeconds"]


def test_services_have_probes(containers: dict[str, dict[str, Any]]) -> None:
    """Readiness includes dependencies, and liveness does not: a restart would not repair them."""
    for name in ("api", "payments"):
        container = containers[name]
        paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
        assert ["/healthz", "/readyz", "/healthz"] == paths
    without = {name for name, each in containers.items() if "readinessProbe" not in each}
    assert {"positions"} == without


def test_connections_are_allowed(objects: list[dict[str, Any]], containers: dict[str, dict[str, Any]]) -> None:
    """By default everything is refused. Policies allow every connection that a setting needs, in both directions."""
    assert {"spike-to-log", "spike-to-log-alloy"} == {
        each["metadata"]["namespace"]
        for each in _policies(objects)
        if each["spec"]["podSelector"] == {} and each["spec"]["policyTypes"] == ["Ingress", "Egress"]
    }
    for source, target, port in needed(containers):
        assert allows(objects, source, target, port), (source, target, port)
    assert not allows(objects, "loadtest", "postgres", 5432)
    assert not allows(objects, "grafana", "loki", 3100)
    assert not allows(objects, "alloy", "prometheus", 9090)


def needed(containers: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, int]]:
    yield "api", "postgres", 5432
    yield "loki", "prometheus", 9090  # the default of PROMETHEUS_URL in loki.yml
    for name in ("loki", "prometheus", "alloy"):
        yield "gateway", name, containers[name]["ports"][0]["containerPort"]
    for name in ("api", "payments", "loki", "alloy"):
        yield "prometheus", name, containers[name]["ports"][0]["containerPort"]
    for name, container in containers.items():
        for value in environment(container).values():
            url = urlsplit(value)
            if url.scheme == "http" and url.hostname != "localhost":
                assert url.hostname
                assert url.port
                yield name, url.hostname.partition(".")[0], url.port


def _policies(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == "NetworkPolicy"]


def allows(objects: list[dict[str, Any]], source: str, target: str, port: int) -> bool:
    """Return whether policies allow a connection, as its source and as its target."""
    policies = _policies(objects)
    return any(_has_rule(each, "egress", source, target, port) for each in policies) and any(
        _has_rule(each, "ingress", target, source, port) for each in policies
    )


def _has_rule(policy: dict[str, Any], direction: str, pod: str, peer: str, port: int) -> bool:
    if policy["metadata"]["namespace"] != _namespace(pod) or not _selects(policy["spec"]["podSelector"], pod):
        return False
    key = {"egress": "to", "ingress": "from"}[direction]
    return any(
        port in {each["port"] for each in rule.get("ports", [])}
        and any(_is_peer(each, policy, peer) for each in rule.get(key, []))
        for rule in policy["spec"].get(direction, [])
    )


def _is_peer(rule: dict[str, Any], policy: dict[str, Any], peer: str) -> bool:
    labels = rule.get("namespaceSelector", {}).get("matchLabels", {})
    namespace = labels.get("kubernetes.io/metadata.name", policy["metadata"]["namespace"])
    return bool(namespace == _namespace(peer) and _selects(rule["podSelector"], peer))


def _selects(selector: dict[str, Any], pod: str) -> bool:
    by_label = all(value == pod for value in selector.get("matchLabels", {}).values())
    return by_label and all(pod in each["values"] for each in selector.get("matchExpressions", []))


def _namespace(pod: str) -> str:
    return "spike-to-log-alloy" if pod == "alloy" else "spike-to-log"
