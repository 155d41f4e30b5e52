"""Install the overlay, follow exemplars to their lines, then replace and kill pods under load."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.emitted import Line
from tests.kubernetes import cluster
from tests.kubernetes.conftest import FIGURES, PODS, PROVED, Proof
from tests.stack import comparison, stores

RATE = float(os.environ.get("RATE", "30"))  # requests per second
SECONDS = int(os.environ.get("DURATION", "75"))  # of each run of load
#: From loki.yml, prometheus.yml and postgres.yaml, and the contract of a replica.
MAX_STREAMS, MAX_EXEMPLARS, MAX_CONNECTIONS, MAX_SERIES = 500, 260_000, 217, 1500

_PRIVILEGED_POD = """
apiVersion: v1
kind: Pod
metadata: {name: privileged, namespace: spike-to-log}
spec:
  containers: [{name: root, image: "spike-to-log:local", securityContext: {privileged: true}}]
"""


def test_objects_are_accepted(proof: Proof) -> None:
    """Server-side apply accepts every object without a warning, and all pods become ready."""
    began = time.monotonic()
    cluster.create_namespace_and_secret()
    done = cluster.run_kubectl("apply", "--server-side", "--kustomize", cluster.OVERLAY)
    assert "" == done.stderr
    assert 0 == done.returncode
    applied = done.stdout.splitlines()
    _scale(PODS)
    cluster.wait_until_available()
    took = f"{time.monotonic() - began:.0f} s"
    proof.report.row(
        PROVED,
        f"`kubectl apply --server-side -k {cluster.OVERLAY}`",
        "the API server accepts every object, without a warning",
        f"{len(applied)} objects, all pods ready after {took}",
    )
    cluster.start_node_access()


def _scale(replicas: int) -> None:
    """Run this number of replicas, also more than a small node has room for by their requests."""
    if replicas > 10:
        cluster.kubectl("set", "resources", "deployment/api", "-n", cluster.NAMESPACE, "--requests=cpu=10m,memory=64Mi")
        cluster.kubectl("set", "env", "deployment/api", "-n", cluster.NAMESPACE, "DATABASE_POOL_SIZE=3")
        # Otherwise replicas with the larger requests are added, too.
        cluster.wait_for_rollout("deployment/api")
    cluster.kubectl("scale", "deployment/api", "-n", cluster.NAMESPACE, f"--replicas={replicas}")


def test_permissions(proof: Proof) -> None:
    """Prometheus may list and watch pods of its namespace. Nothing else is permitted, to it or to another pod."""
    prometheus = f"{cluster.NAMESPACE}:prometheus"
    asked = [
        (verb, resource, namespace)
        for verb in ("get", "list", "watch", "create", "patch", "delete")
        for resource in ("pods", "pods/log", "pods/exec", "secrets", "configmaps", "nodes", "services")
        for namespace in (cluster.NAMESPACE, cluster.ALLOY, "kube-system")
    ]
    allowed = [each for each in asked if cluster.can(prometheus, *each)]
    assert [("list", "pods", cluster.NAMESPACE), ("watch", "pods", cluster.NAMESPACE)] == allowed
    others = [
        (account, verb)
        for account in (f"{cluster.NAMESPACE}:default", f"{cluster.ALLOY}:default")
        for verb in ("get", "list", "watch", "create", "delete")
    ]
    assert not [each for each in others if cluster.can(*each, "pods")]
    proof.report.row(
        PROVED,
        "`kubectl auth can-i VERB RESOURCE --as=system:serviceaccount:spike-to-log:prometheus`",
        "Prometheus may list and watch pods of its namespace; the other accounts may do nothing with pods",
        f"yes for {len(allowed)}, no for {len(asked) - len(allowed)} and {len(others)}",
    )


def test_privileged_pod_is_refused(proof: Proof) -> None:
    """The namespace refuses pods with privileges."""
    refused = cluster.errors("apply", "--dry-run=server", "--filename=-", text=_PRIVILEGED_POD)
    assert "violates PodSecurity" in refused
    proof.report.row(
        PROVED,
        "`kubectl apply --dry-run=server -f` a privileged pod",
        "the namespace refuses pods with privileges",
        "violates PodSecurity",
    )


def test_network_policies(proof: Proof) -> None:
    """Pods reach what they need and, if the network plugin supports policies, nothing else."""
    needed = {
        "loadtest": {"api", "prometheus"},
        "api": {"payments", "postgres"},
        "tour": {"api", "grafana", "loki", "prometheus"},
    }
    ports = {"api": 8000, "payments": 8001, "postgres": 5432, "loki": 3100, "prometheus": 9090, "grafana": 3000}
    ports["gateway"] = 3100
    pairs = {(source, target) for source in needed for target in ports if source != target}
    allowed = {(source, target) for source, targets in needed.items() for target in targets}
    opened = {(source, target) for source, target in pairs if cluster.connects(source, target, ports[target])}
    assert opened in (allowed, pairs)
    refused = len(pairs - opened)
    proof.report.row(
        PROVED,
        "`kubectl exec` connections between pods",
        "pods reach what they need and nothing else" if refused else "pods reach what they need",
        f"{len(opened)} open, {refused} refused" if refused else "this network plugin ignores network policies",
    )


def test_every_step_works(proof: Proof) -> None:
    """`triage tour --once` finds an exemplar and its lines, and both data sources of Grafana work."""
    with (
        cluster.forwarded("gateway", 3100, 9090, 12345) as (loki, prometheus, alloy),
        cluster.forwarded("grafana", 3000) as (grafana,),
        cluster.forwarded("api", 8000) as (api,),
    ):
        urls = {
            "LOKI_URL": loki, "PROMETHEUS_URL": prometheus, "ALLOY_URL": alloy, "GRAFANA_URL": grafana, "API_URL": api
        }  # fmt: skip
        printed = _triage(urls, "tour", "--once")
    assert "Every step works" in printed
    # From here on, only the load of the tests, which needs more memory next to Locust's web UI.
    cluster.kubectl("set", "env", "deployment/loadtest", "-n", cluster.NAMESPACE, "LOAD=off")
    cluster.kubectl("set", "resources", "deployment/loadtest", "-n", cluster.NAMESPACE, "--limits=memory=512Mi")
    cluster.wait_until_available()
    proof.report.row(
        PROVED,
        "`triage tour --once` with forwarded ports",
        "an exemplar in Prometheus, its lines in Loki, and both data sources of Grafana",
        printed.strip().partition(": ")[2],
    )


def _triage(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "triage", *arguments],
        env={**os.environ, **environment},
        cwd=cluster.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_rolling_update(proof: Proof) -> None:
    """During a rolling update, every request has one line, and counters match the lines to the request."""

    def restart() -> None:
        cluster.kubectl("rollout", "restart", "deployment/api", "--namespace", cluster.NAMESPACE)
        cluster.wait_for_rollout("deployment/api")

    found = _reconcile_run(proof, "rolling", restart)
    assert [] == found["sent"]["unknown"]
    proof.report.row(
        PROVED,
        f"`kubectl rollout restart deployment/api` at {RATE:g} requests/s, then `triage reconcile`",
        "a rolling update loses no line and shows none twice; counters match the lines to the request",
        _summary(found),
    )


def _reconcile_run(proof: Proof, run: str, disturb: Callable[[], None]) -> dict[str, Any]:
    """Make a run of load, call `disturb` meanwhile, and compare sent requests, lines and counters."""
    load = cluster.load(run, RATE, SECONDS)
    time.sleep(10)
    disturb()
    output, _ = load.communicate(timeout=600)
    assert 0 == load.returncode, output
    cluster.copy_run(run, proof.folder)
    time.sleep(15)  # the last scrape
    with cluster.forwarded("gateway", 3100, 9090) as (loki, prometheus):
        comparison.wait_until_settled(loki)
        arguments = ("reconcile", "--json", "--runs", str(proof.folder), "--run", run)
        found: dict[str, Any] = json.loads(_triage({"LOKI_URL": loki, "PROMETHEUS_URL": prometheus}, *arguments))
    assert found["equal"]
    assert found["complete"]
    return found


def _summary(found: dict[str, Any]) -> str:
    sent, counted = found["sent"], found["counted"]
    statuses = Counter[str]()
    for row in sent["rows"]:
        statuses[row["status"]] += row["sent"]
    failed = {status: count for status, count in statuses.items() if not status.startswith(("2", "4"))}
    requests = f"{statuses.total():,} sent requests and {sum(row['counted'] for row in counted['rows']):,} counted ones"
    without = len(sent["unknown"]) + len(sent["never_arrived"])
    answers = ", ".join(f"{count} with status {status}" for status, count in sorted(failed.items())) or "none failed"
    return f"equal: {requests}; {without} without a line; {answers}"


def test_killed_containers(proof: Proof) -> None:
    """If a replica and Alloy are killed, only requests in flight at the replica have no line."""
    took: dict[str, float] = {}

    def kill() -> None:
        took["api"] = cluster.kill(cluster.pods("api")[0])
        took["alloy"] = cluster.kill(cluster.pods("alloy", cluster.ALLOY)[0])
        time.sleep(5)
        took["loki"] = cluster.kill(cluster.pods("loki")[0])

    found = _reconcile_run(proof, "killed", kill)
    proof.report.row(
        PROVED,
        f"SIGKILL to a replica, to Alloy and to Loki at {RATE:g} requests/s, then `triage reconcile`",
        "only requests in flight at the killed replica have no line",
        _summary(found),
    )
    for name, seconds in took.items():
        proof.report.row(FIGURES, f"SIGKILL to {name} until it is ready again", f"{seconds:.1f} s")


def test_all_lines_are_stored(proof: Proof) -> None:
    """Every line in the files of the nodes is stored once, also those of killed containers."""
    with cluster.forwarded("gateway", 3100) as (loki,):
        for container in ("api", "payments"):
            pods = [pod["metadata"]["name"] for pod in cluster.pods(container)]
            file = proof.folder / f"{container}.jsonl"
            cluster.save_lines(container, file)
            # The files of deleted pods are kept for a while, but not all of them.
            with file.open() as lines:
                written = [line.rstrip("\n") for line in lines if json.loads(line)["instance"] in pods]
            end = time.time() + 1
            selector = f'{{service_name="{container}"}} | instance=~"{"|".join(pods)}"'
            result = comparison.compare(
                written,
                comparison.stored_lines(loki, selector, proof.began, end),
                comparison.counted_lines(loki, selector, proof.began, end),
            )
            proof.report.lines(f"all pods of {container}, since they were created", result)
            assert result.equal
            assert result.written > SECONDS


def test_every_exemplar_has_its_line(proof: Proof) -> None:
    """Every exemplar leads to the line of its request, with the same name of the pod and duration."""
    with cluster.forwarded("gateway", 3100, 9090) as (loki, prometheus):
        finished: dict[str, Line] = {}
        for text in comparison.stored_lines(loki, f'{comparison.OURS} |= "request.finished"', proof.began, time.time()):
            line = json.loads(text)
            finished[line["span_id"]] = line
        found = stores.exemplars(prometheus, proof.began)
        unmatched = [each for each in found if not stores.matches(each, finished.get(each.labels["span_id"]))]
        assert [] == unmatched
        instances = {each.series["instance"] for each in found}
        proof.report.row(
            PROVED,
            "all exemplars by `/api/v1/query_exemplars`, all lines by `/loki/api/v1/query_range`",
            "every exemplar leads to its line, with the same pod and duration",
            f"{len(found):,} exemplars of {len(instances)} pods, all with their line",
        )
        assert len(instances) > PODS
        _check_budget(proof, loki, prometheus)


def _check_budget(proof: Proof, loki: str, prometheus: str) -> None:
    """Compare what the stack needs with its limits."""

    def number(expression: str) -> int:
        return int(stores.query(prometheus, expression)[0]["value"][1])

    connections = cluster.kubectl(
        "exec", "-n", cluster.NAMESPACE, "statefulset/postgres", "--",
        "psql", "--username=app", "-Atc", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'",
    )  # fmt: skip
    figures = {
        "streams in Loki": (len(stores.series(loki, '{service_name=~".+"}')), MAX_STREAMS),
        "series of a replica": (number('max(count by (instance) ({job="api"}))'), MAX_SERIES),
        "exemplars in Prometheus": (number("prometheus_tsdb_exemplar_exemplars_in_storage"), MAX_EXEMPLARS),
        "connections of PostgreSQL": (int(connections), MAX_CONNECTIONS),
    }
    for name, (value, limit) in figures.items():
        proof.report.row(FIGURES, f"{name} (limit: {limit:,})", f"{value:,}")
    assert all(value < limit for value, limit in figures.values())
