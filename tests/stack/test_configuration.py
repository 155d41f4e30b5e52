"""The shipped files, as the servers themselves judge them."""

import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.services import Service
from tests.stack.native import ROOT, Stack, server


def judged(program: str, *arguments: str | Path, text: str = "", env: dict[str, str] | None = None) -> str:
    """Run a server's own check; skip where the server is not here."""
    command = [server(program), *arguments]
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_accepts_its_files() -> None:
    """Also what they include, and without a warning."""
    said = judged("promtool", "check", "config", "--lint=all", "--lint-fatal", ROOT / "prometheus/prometheus.yml")

    assert "SUCCESS" in said


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    """For each alert: not yet, now, over; no requests at all, the first failure, both windows, what does not count."""
    judged("promtool", "test", "rules", *sorted((ROOT / "prometheus/rules/tests").glob("*.yml")))


def test_loki_accepts_its_file() -> None:
    """With its defaults, as in compose."""
    judged("loki", "-verify-config", "-config.expand-env=true", "-config.file", ROOT / "loki/loki.yml")


@pytest.mark.parametrize("source", ["docker", "files"])
def test_alloy_accepts_its_files(source: str, tmp_path: Path) -> None:
    """The shared pipeline fits both sources, and each file is formatted."""
    for name in ("pipeline", source):
        file = ROOT / "alloy" / f"{name}.alloy"
        judged("alloy", "fmt", "--test", file)
        shutil.copy(file, tmp_path)
    environment = {
        "LOKI_URL": "http://loki",
        "DOCKER_API": "tcp://proxy:2375",
        "LINES": "/lines",
        "HOME": str(tmp_path),
    }
    judged("alloy", "validate", tmp_path, env=environment)


def test_the_metrics_are_named_as_prometheus_likes_them(stack: Stack, payments: Service) -> None:
    """Units, suffixes and help, of every metric of both services."""
    for page in (httpx2.get(f"{stack.api}/metrics").text, payments.client.get("/metrics").text):
        assert "" == judged("promtool", "check", "metrics", text=page)
