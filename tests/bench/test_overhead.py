"""The overhead benchmark runs and writes its page; the figures are not tested."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.checks import CHECKS
from bench.variants import BARE, OURS, PEERS

ROOT = Path(__file__).parents[2]
WITH_PEERS = ROOT / ".venv-bench/bin/python"
# All packages that are installed here, over HTTP, too; and only those of the project, without a load generator.
RUNS = {
    "everything": (WITH_PEERS if WITH_PEERS.exists() else Path(sys.executable), os.environ["PATH"]),
    "alone": (Path(sys.executable), ""),
}


@pytest.fixture(scope="module", params=RUNS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the benchmark with little effort, and return its page."""
    python, path = RUNS[request.param]
    output = tmp_path_factory.mktemp("bench") / "results.md"
    command: list[str | Path] = [python, "-m", "bench.overhead", "--quick", "--output", output]
    environment = {**os.environ, "PATH": path}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=480)  # noqa: S603 - our own module
    return output.read_text()


def figures(text: str, title: str) -> dict[str, float]:
    """Return the second column of the table under a heading."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (-?\d[\d.]*) \|", section, re.MULTILINE)
    return {name.strip("`"): float(value) for name, value in rows}


def skipped(text: str) -> list[str]:
    return re.findall(r"^- `?(over HTTP|\w+)", text.partition("## Skipped: ")[2], re.MULTILINE)


def test_every_variant_has_a_row(page: str) -> None:
    """The page has a row for every variant that is installed, and counts the ones that are skipped."""
    measured = figures(page, "In process")
    missing = {name for name in skipped(page) if name != "over HTTP"}
    assert {BARE.name, OURS.name} <= set(measured)
    assert {BARE.name, OURS.name, *(peer.name for peer in PEERS)} == {*measured, *missing}
    assert f"## Skipped: {len(skipped(page))}\n" in page


def test_same_variants_in_process_and_over_http(page: str) -> None:
    """Every variant is measured both in process and over HTTP, unless the load generator is missing."""
    over = figures(page, "Over HTTP")
    assert over.keys() == (set() if "over HTTP" in skipped(page) else figures(page, "In process").keys())


def test_parts_have_rows(page: str) -> None:
    """The cost of each part, and the cost without requests, is in the table of parts."""
    parts = figures(page, "The cost of each part of `ours`")
    assert {
        "trace id from and to headers",
        "+ route, histogram with exemplar, log record",
        "+ log line (complete)",
    } <= parts.keys()
    assert "| without requests" in page


def test_ours_passes_every_check(page: str) -> None:
    """This project passes every check of the comparison."""
    rows = re.findall(r"^\| \d\. (.+?) \| (\S+) \|", page, re.MULTILINE)
    assert [(check, "yes") for check in CHECKS] == rows
