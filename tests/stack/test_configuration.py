"""The servers accept the shipped configuration files."""

import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.services import Service
from tests.stack.native import ROOT, Stack, server


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


def test_rules() -> None:
    """The unit tests of the recording rules and alerts pass."""
    check("promtool", "test", "rules", *sorted((ROOT / "prometheus/rules/tests").glob("*.yml")))


def test_loki_accepts_its_file() -> None:
    """Loki accepts loki.yml with the defaults of its variables, as in docker-compose.yml."""
    check("loki", "-verify-config", "-config.expand-env=true", "-config.file", ROOT / "loki/loki.yml")


@pytest.mark.parametrize("source", ["docker", "files"])
def test_alloy_accepts_its_files(source: str, tmp_path: Path) -> None:
    """Alloy accepts the pipeline with both sources, and each file is formatted."""
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


def test_metric_names(stack: Stack, payments: Service) -> None:
    """Promtool accepts the names, units and help texts of all metrics of both services."""
    for page in (httpx2.get(f"{stack.api}/metrics").text, payments.client.get("/metrics").text):
        assert "" == check("promtool", "check", "metrics", text=page)
