"""Measured runs and their verdicts with real servers, with and without restarts of the service."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Processes, free_port
from tests.stack.native import NativeStack

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="restarts services of a separate native stack")

_SECONDS = 16


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Run a separate stack, because the tests restart its services."""
    with NativeStack() as started:
        started.start()
        yield started


def run_and_judge(
    native: NativeStack, folder: Path, signal_number: int | None, seconds: int = _SECONDS
) -> tuple[int, Any]:
    """Make a run, optionally send a signal to the service and restart it halfway, and return the verdict."""
    environment = {**native.environment(), "LOCUST_URL": f"http://127.0.0.1:{free_port()}"}
    options = ["--host", native.url("api"), "--folder", str(folder), "--rate", "20", "--seconds", str(seconds)]
    with Processes(folder) as processes:
        processes.start("run", [sys.executable, "-m", "loadtest.run", *options], environment)
        if signal_number is not None:
            time.sleep(seconds / 2)
            native.services.kill("api", signal_number)
            native.start_service("api")
        assert 0 == processes.wait("run"), processes.last_lines("run")
    # A latency that a busy machine reaches, too.
    thresholds = folder / "thresholds.toml"
    thresholds.write_text(
        "[overall]\np99_ms = 20000\nfailures = 0.001\n[reconciliation]\ndifferences = 0\n[links]\ndead = 0\n"
    )
    command = [
        sys.executable,
        "-m",
        "triage",
        "verdict",
        "--runs",
        str(folder),
        "--thresholds",
        str(thresholds),
        "--json",
    ]
    done = subprocess.run(  # noqa: S603 - ours
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    verdict = json.loads(done.stdout)
    if verdict["verdict"] == "INVALID":
        pytest.skip("this machine is too busy to send 20 requests per second when they are due")
    return done.returncode, verdict


def differences(verdict: Any) -> float:
    return next(float(check["measured"]) for check in verdict["checks"] if check["what"] == "differences")


def test_run_without_restart(native: NativeStack, tmp_path: Path) -> None:
    """The run passes without any differences, and the slowest requests have a server-side duration."""
    code, verdict = run_and_judge(native, tmp_path, None)
    assert (0, "PASS") == (code, verdict["verdict"])
    assert 0 == differences(verdict)
    assert 10 == len(verdict["requests"])
    assert all(each["client_ms"] > each["server_ms"] > 0 for each in verdict["requests"])


def test_graceful_restart(native: NativeStack, tmp_path: Path) -> None:
    """Failed requests during the restart fail the run, but every response has its line and is counted."""
    code, verdict = run_and_judge(native, tmp_path, signal.SIGTERM)
    assert (1, "FAIL") == (code, verdict["verdict"])
    assert 0 == differences(verdict)


def test_killed_process(native: NativeStack, tmp_path: Path) -> None:
    """Requests in flight at the killed process are unknown within a time range; there are no other differences."""
    _, verdict = run_and_judge(native, tmp_path, signal.SIGKILL)
    assert 0 == differences(verdict)
    run = next(folder.name for folder in tmp_path.iterdir() if folder.is_dir())
    command = [sys.executable, "-m", "triage", "reconcile", "--runs", str(tmp_path), "--run", run, "--json"]
    environment = {**os.environ, **native.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    (gap,) = json.loads(done.stdout)["unknown"]
    assert native.url("api") == f"http://{gap['instance']}"
    assert gap["from"] < gap["to"]
    without = {each["without"] for each in verdict["requests"] if each["why"] == "failed" and each["link"] is None}
    assert "unknown: a process was killed" in without
