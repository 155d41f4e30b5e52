"""Control the cluster of the current kubeconfig with kubectl."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
OVERLAY = "deploy/kubernetes/overlays/small"
NAMESPACE, ALLOY = "spike-to-log", "spike-to-log-alloy"
WORKLOADS = (
    "deployment/api", "deployment/payments", "deployment/loadtest", "deployment/gateway", "deployment/grafana",
    "deployment/tour", "statefulset/postgres", "statefulset/loki", "statefulset/prometheus",
)  # fmt: skip

_IN_LOADTEST = ("exec", "--namespace", NAMESPACE, "deployment/loadtest", "--")

# SIGKILL to all processes of a container. From inside, the first one would ignore it.
_KILL = """
import os, pathlib, sys
for file in pathlib.Path("/proc").glob("[0-9]*/cgroup"):
    try:
        if sys.argv[1] in file.read_text():
            os.kill(int(file.parent.name), 9)
    except (FileNotFoundError, ProcessLookupError):
        pass
"""

# The lines in all files of containers, also in rotated ones, without what the runtime adds to each line.
_LINES = """
import glob, gzip, sys
for path in glob.glob(sys.argv[1]):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
        sys.stdout.writelines(line.split(" ", 3)[3] for line in file)
"""


def kubectl(*arguments: str, text: str | None = None, seconds: float = 180) -> str:
    """Run kubectl and return its output; raise `AssertionError` with its errors if it fails."""
    done = run_kubectl(*arguments, text=text, seconds=seconds)
    if done.returncode:
        msg = f"kubectl {' '.join(arguments)[:200]} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise AssertionError(msg)
    return done.stdout


def run_kubectl(*arguments: str, text: str | None = None, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """Run kubectl, whether it succeeds or not."""
    command = ["kubectl", *arguments]
    return subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)


def errors(*arguments: str, text: str | None = None) -> str:
    """Return what kubectl prints on stderr, such as the reason of a refused object, or warnings."""
    return run_kubectl(*arguments, text=text).stderr


def get(kind: str, *arguments: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return an object or a list of objects."""
    found: dict[str, Any] = json.loads(kubectl("get", kind, *arguments, "--namespace", namespace, "--output", "json"))
    return found


def pods(name: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the pods of a workload that are not being deleted."""
    selector = f"--selector=app.kubernetes.io/name={name}"
    found: list[dict[str, Any]] = get("pods", selector, namespace=namespace)["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def server_version() -> str:
    """Return the version of the API server."""
    version: str = json.loads(kubectl("version", "--output", "json"))["serverVersion"]["gitVersion"]
    return version


def create_namespace_and_secret() -> None:
    """Follow the first steps of docs/kubernetes.md."""
    kubectl("create", "namespace", NAMESPACE)
    password = secrets.token_hex(24)
    url = f"postgresql://app:{password}@postgres/app"
    literals = [f"--from-literal=password={password}", f"--from-literal=url={url}"]
    kubectl("create", "secret", "generic", "database", "--namespace", NAMESPACE, *literals)


def wait_until_available(seconds: float = 600) -> None:
    """Wait until all workloads are rolled out."""
    for workload in WORKLOADS:
        wait_for_rollout(workload, seconds)
    wait_for_rollout("daemonset/alloy", seconds, ALLOY)


def wait_for_rollout(workload: str, seconds: float = 300, namespace: str = NAMESPACE) -> None:
    """Wait until all pods of a workload are new and ready."""
    arguments = ("--namespace", namespace, f"--timeout={seconds:.0f}s")
    kubectl("rollout", "status", workload, *arguments, seconds=seconds + 5)


def delete() -> None:
    """Delete both namespaces and everything in them."""
    kubectl("delete", "namespace", NAMESPACE, ALLOY, "--ignore-not-found", "--timeout=300s", seconds=310)


@contextmanager
def forwarded(service: str, *ports: int) -> Iterator[list[str]]:
    """Forward ports of a service to free ports of this machine, and return their URLs."""
    local = [free_port() for _ in ports]
    pairs = [f"{here}:{there}" for here, there in zip(local, ports, strict=True)]
    options = ("--namespace", NAMESPACE, "--address", "127.0.0.1")
    command = ["kubectl", "port-forward", *options, f"service/{service}", *pairs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in ports:
                assert "Forwarding from 127.0.0.1" in process.stdout.readline()
            yield [f"http://127.0.0.1:{port}" for port in local]
        finally:
            process.terminate()


def start_node_access() -> None:
    """Start a pod on every node that can read the log files of the node and kill its processes."""
    image = pods("api")[0]["spec"]["containers"][0]["image"]
    labels = {"app.kubernetes.io/name": "node-access"}
    container = {
        "name": "python",
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(1e6)"],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
        "volumeMounts": [{"name": "pods", "mountPath": "/var/log/pods", "readOnly": True}],
    }
    spec = {
        "hostPID": True,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "pods", "hostPath": {"path": "/var/log/pods"}}],
    }
    daemon_set = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "node-access", "namespace": ALLOY},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    kubectl("apply", "--filename=-", text=json.dumps(daemon_set))
    wait_for_rollout("daemonset/node-access", namespace=ALLOY)


def _on_node(node: str, *command: str) -> str:
    (pod,) = [each for each in pods("node-access", ALLOY) if each["spec"]["nodeName"] == node]
    return kubectl("exec", "--namespace", ALLOY, pod["metadata"]["name"], "--", *command)


def kill(pod: dict[str, Any]) -> float:
    """Kill the container of a pod, and return the seconds until it is ready again."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    (status,) = pod["status"]["containerStatuses"]
    began = time.monotonic()
    _on_node(pod["spec"]["nodeName"], "python", "-c", _KILL, status["containerID"].rpartition("/")[2])

    def is_restarted() -> bool:
        (now,) = get("pod", name, namespace=namespace)["status"]["containerStatuses"]
        return bool(now["restartCount"] > status["restartCount"] and now["ready"])

    wait_for(is_restarted, f"{name} to be ready again", 120, pause=0.2)
    return time.monotonic() - began


def save_lines(container: str, path: Path) -> None:
    """Save the lines of all containers with this name that the nodes still have."""
    nodes = {pod["spec"]["nodeName"] for pod in pods(container)}
    pattern = f"/var/log/pods/{NAMESPACE}_*/{container}/*.log*"
    path.write_text("".join(_on_node(node, "python", "-c", _LINES, pattern) for node in sorted(nodes)))


def connects(deployment: str, host: str, port: int) -> bool:
    """Return whether a pod of a deployment can open a connection."""
    program = f"import socket; socket.create_connection(({host!r}, {port}), 5)"
    return not run_kubectl(
        "exec", "--namespace", NAMESPACE, f"deployment/{deployment}", "--", "python", "-c", program
    ).returncode


def load(run: str, rate: float, seconds: float) -> subprocess.Popen[str]:
    """Start a measured run of load inside of the cluster."""
    options = ["--host", "http://api:8000", "--folder", "/tmp", "--run", run]  # noqa: S108
    options += ["--rate", str(rate), "--seconds", str(seconds)]
    command = ["kubectl", *_IN_LOADTEST, "python", "-m", "loadtest.run", *options]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def copy_run(run: str, folder: Path) -> None:
    """Copy the files of a run to `folder`."""
    target = folder / run
    target.mkdir(parents=True)
    files = kubectl(*_IN_LOADTEST, "ls", f"/tmp/{run}").split()  # noqa: S108
    for name in files:
        content = kubectl(*_IN_LOADTEST, "cat", f"/tmp/{run}/{name}")  # noqa: S108
        (target / name).write_text(content)


def can(account: str, verb: str, resource: str, namespace: str = NAMESPACE) -> bool:
    """Return whether a service account may do something, by `kubectl auth can-i`."""
    kind, _, part = resource.partition("/")
    who = f"--as=system:serviceaccount:{account}"
    options = ("--subresource", part, "--namespace", namespace)
    return run_kubectl("auth", "can-i", verb, kind, who, *options).stdout.strip() == "yes"
