"""A measured run and its verdict on real servers: client, lines and counters agree, and a gap has its name."""

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

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="restarts services of its own native stack")

_SECONDS = 16


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Run a stack that nobody else uses."""
    with NativeStack() as started:
        started.start()
        yield started


def judged(native: NativeStack, folder: Path, number: int | None, seconds: int = _SECONDS) -> tuple[int, Any]:
    """Make a run, in the middle of which the service may get a signal and be started again; return its verdict."""
    environment = {**native.environment(), "LOCUST_URL": f"http://127.0.0.1:{free_port()}"}
    where = ["--host", native.url("api"), "--folder", str(folder), "--rate", "40", "--seconds", str(seconds)]
    with Processes(folder) as processes:
        processes.start("run", [sys.executable, "-m", "loadtest.run", *where], environment)
        if number is not None:
            time.sleep(seconds / 2)
            native.services.kill("api", number)
            native.start_service("api")
        assert 0 == processes.wait("run"), processes.last_lines("run")
    command = [sys.executable, "-m", "triage", "verdict", "--runs", str(folder), "--json"]
    done = subprocess.run(  # noqa: S603 - ours
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def differences(verdict: Any) -> float:
    return next(float(check["measured"]) for check in verdict["checks"] if check["what"] == "differences")


def test_a_run_that_went_well(native: NativeStack, tmp_path: Path) -> None:
    """It passes, to the request: nothing differs, no link is dead, and the worst have a server's time."""
    code, verdict = judged(native, tmp_path, None)
    assert (0, "PASS") == (code, verdict["verdict"])
    assert 0 == differences(verdict)
    assert 10 == len(verdict["requests"])
    assert all(each["client_ms"] > each["server_ms"] > 0 for each in verdict["requests"])


def test_a_restart_in_good_order(native: NativeStack, tmp_path: Path) -> None:
    """What is not answered meanwhile fails the run; what was answered has its line, and was counted by its totals."""
    code, verdict = judged(native, tmp_path, signal.SIGTERM)
    assert (1, "FAIL") == (code, verdict["verdict"])
    assert 0 == differences(verdict)


def test_a_process_that_is_killed(native: NativeStack, tmp_path: Path) -> None:
    """What went with it is unknown between two moments, and nothing else differs."""
    _, verdict = judged(native, tmp_path, signal.SIGKILL)
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
