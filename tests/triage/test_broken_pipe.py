"""A command whose reader closes the pipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.fake_service import write
from tests.triage.incidents import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_broken_pipe(tmp_path: Path, more: list[str]) -> None:
    """A command whose reader has closed the pipe ends without an error message, like one that SIGPIPE ends."""
    path = write(tmp_path / "api.jsonl", run(5).lines)
    command = [sys.executable, "-m", "triage", "explain", *more, "--jsonl", str(path)]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert b"" == process.stderr.read()
    process.stderr.close()
    assert 128 + signal.SIGPIPE == process.wait()
