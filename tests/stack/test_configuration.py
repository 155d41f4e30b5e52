"""The servers accept the shipped configuration files."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.compose import compose
from tests.processes import Processes, free_port
from tests.services import Service
from tests.stack.native import ROOT, Stack, server
from tests.waiting import wait_for


def check(program: str, *arguments: str | Path, text: str = "", env: dict[str, str] | None = None) -> str:
    """Run a check command, assert that it succeeds, and return its output; skip if it is not installed."""
    command = [server(program), *arguments]
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_accepts_its_files() -> None:
    """Promtool accepts prometheus.yml and all included files without a warning."""
    output = check("promtool", "check", "config", "--lint=all", "--lint-fatal", ROOT / "prometheus/prometheus.yml")

    assert "SUCCESS" in output


def test_prometheus_accepts_its_targets_on_kubernetes(tmp_path: Path) -> None:
    """Promtool accepts prometheus.yml also with the targets on Kubernetes."""
    shutil.copytree(ROOT / "prometheus/rules", tmp_path / "rules")
    for source, target in (("prometheus.yml", "prometheus.yml"), ("kubernetes.yml", "scrape/kubernetes.yml")):
        (tmp_path / target).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "prometheus" / source, tmp_path / target)
    check("promtool", "check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")


def test_rules() -> None:
    """The unit tests of the recording rules and alerts pass."""
    check("promtool", "test", "rules", *sorted((ROOT / "prometheus/rules/tests").glob("*.yml")))


def test_loki_accepts_its_file() -> None:
    """Loki accepts loki.yml with the defaults of its variables, as in docker-compose.yml."""
    check("loki", "-verify-config", "-config.expand-env=true", "-config.file", ROOT / "loki/loki.yml")


@pytest.mark.parametrize("source", ["docker", "files", "kubernetes"])
def test_alloy_accepts_its_files(source: str, tmp_path: Path) -> None:
    """Alloy accepts the pipeline with each source, and each file is formatted."""
    for name in ("pipeline", source):
        file = ROOT / "alloy" / f"{name}.alloy"
        check("alloy", "fmt", "--test", file)
        shutil.copy(file, tmp_path)
    environment = {
        "LOKI_URL": "http://loki",
        "DOCKER_API": "tcp://proxy:2375",
        "LINES": "/lines",
        "HOME": str(tmp_path),
    }
    check("alloy", "validate", tmp_path, env=environment)


def test_alloy_reads_its_own_project(processes: Processes, tmp_path: Path) -> None:
    """Alloy asks Docker only for containers of its compose project, so that two stacks do not mix their lines."""
    filters: list[dict[str, Iterable[str]]] = []

    class Docker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Return no containers and no networks."""
            query = parse_qs(urlsplit(self.path).query)
            if self.path.partition("?")[0].endswith("/containers/json"):
                filters.append(json.loads(query["filters"][0]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    for name in ("pipeline", "docker"):
        shutil.copy(ROOT / "alloy" / f"{name}.alloy", tmp_path)
    command: list[str | Path] = [
        server("alloy"), "run", tmp_path, f"--storage.path={tmp_path}/data", "--disable-reporting",
        f"--server.http.listen-addr=127.0.0.1:{free_port()}",
    ]  # fmt: skip
    with ThreadingHTTPServer(("127.0.0.1", 0), Docker) as docker:
        Thread(target=docker.serve_forever, daemon=True).start()
        environment = {
            "LOKI_URL": "http://127.0.0.1:1",
            "DOCKER_API": f"tcp://127.0.0.1:{docker.server_port}",
            "COMPOSE_PROJECT_NAME": "mine",
        }
        processes.start("alloy", command, environment)
        wait_for(lambda: filters, "a query of Alloy", 60)
        processes.stop("alloy")
        docker.shutdown()
    assert {"logging=alloy", "com.docker.compose.project=mine"} == set(filters[0]["label"])
    assert "${COMPOSE_PROJECT_NAME}" == compose()["services"]["alloy"]["environment"]["COMPOSE_PROJECT_NAME"]


def test_metric_names(stack: Stack, payments: Service) -> None:
    """Promtool accepts the names, units and help texts of all metrics of both services."""
    for page in (httpx2.get(f"{stack.api}/metrics").text, payments.client.get("/metrics").text):
        assert "" == check("promtool", "check", "metrics", text=page)
