"""The start script of Alloy in docker-compose.yml."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

START = Path(__file__).parents[1] / "alloy" / "start.sh"
POSITIONS = """\
positions:
  ? path: cursor-0df9
    labels: '{container="0df9", service_name="api"}'
  : "1795596087"
  ? path: cursor-e94d
    labels: '{container="e94d"}'
  : "1795596093"
"""


def test_read_positions_are_moved_back(tmp_path: Path) -> None:
    """Every read position is five minutes earlier, the rest of the file is unchanged, and Alloy gets its arguments."""
    if not (bash := shutil.which("bash")):
        pytest.skip("bash is not installed")
    file = tmp_path / "loki.source.docker.ours" / "positions.yml"
    file.parent.mkdir()
    file.write_text(POSITIONS)
    environment = {**os.environ, "STORAGE": str(tmp_path), "ALLOY": "/bin/echo"}
    command = [bash, str(START), "run", "two words"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - a script of this project
    assert "run two words\n" == done.stdout
    assert POSITIONS.replace("6087", "5787").replace("6093", "5793") == file.read_text()
    assert [file] == list(file.parent.iterdir())


def test_first_start(tmp_path: Path) -> None:
    """Alloy starts when there are no read positions yet."""
    if not (bash := shutil.which("bash")):
        pytest.skip("bash is not installed")
    environment = {**os.environ, "STORAGE": str(tmp_path / "nowhere"), "ALLOY": "/bin/echo"}
    done = subprocess.run([bash, str(START), "run"], env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    assert ("run\n", "") == (done.stdout, done.stderr)
