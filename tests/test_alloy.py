"""The start script of Alloy."""

import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

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


def test_positions_in_files_of_pods_are_moved_back(tmp_path: Path) -> None:
    """Read positions in files are those of the first line within five minutes, or 0 in a file that was rotated."""
    if not (bash := shutil.which("bash")):
        pytest.skip("bash is not installed")
    now = datetime.now(timezone(timedelta(hours=2)))  # the time zone of a node
    ages = {"read": [900, 600, 290, 10, -2], "rotated": [15, -400, -401, -402], "shorter": [10], "gone": []}
    files = {name: tmp_path / f"{name}.log" for name in ages}
    for name, file in files.items():
        if ages[name]:
            file.write_text(
                "".join(f"{(now - timedelta(seconds=age)).isoformat()} stdout F {{}}\n" for age in ages[name])
            )
    size = len(f"{now.isoformat()} stdout F {{}}\n")
    positions = tmp_path / "loki.source.file.pods" / "positions.yml"
    positions.parent.mkdir()
    entries = "".join(f"  ? path: {file}\n    labels: '{{}}'\n  : \"{4 * size}\"\n" for file in files.values())
    positions.write_text(f"positions:\n{entries}")
    os.utime(positions, (now.timestamp(), now.timestamp()))
    environment = {**os.environ, "STORAGE": str(tmp_path), "ALLOY": "/bin/echo", "TZ": "America/New_York"}
    subprocess.run([bash, str(START), "run"], env=environment, capture_output=True, check=True)  # noqa: S603 - a script of this project
    stored = yaml.safe_load(re.sub(r"\? path: (\S+)\n.*\n  :", r"\1:", positions.read_text()))["positions"]
    assert {str(files["read"]): str(2 * size)} == {key: at for key, at in stored.items() if at != "0"}
    assert {str(file) for file in files.values()} == stored.keys()
