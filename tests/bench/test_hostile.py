"""The benchmark with hostile clients runs and writes its page; the figures are not tested."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_normal_requests_next_to_hostile_clients(tmp_path: Path) -> None:
    """Normal requests are measured in both conditions, and hostile connections are closed and counted."""
    output = tmp_path / "hostile.md"
    command: list[str | Path] = [sys.executable, "-m", "bench.hostile", "--quick", "--output", output]
    subprocess.run(command, check=True, cwd=ROOT, timeout=240)  # noqa: S603 - our own module
    page = output.read_text()
    rows = {row[0]: row[1:] for row in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)}

    assert ("100", "100") == rows["requests"]
    assert "0" == rows["closed connections"][0]
    assert "`head_too_large`" in page
