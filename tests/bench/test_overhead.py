"""The measuring programme runs, and says what it found; how fast anything is, is no matter of tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.checks import CHECKS
from bench.variants import BARE, OURS, PEERS

ROOT = Path(__file__).parents[2]
WITH_PEERS = ROOT / ".venv-bench/bin/python"


@pytest.fixture(scope="module", params=[Path(sys.executable), WITH_PEERS], ids=["alone", "with peers"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    python: Path = request.param
    if not python.exists():
        pytest.skip("the peers are not installed: make bench")
    output = tmp_path_factory.mktemp("bench") / "results.md"
    command: list[str | Path] = [python, "-m", "bench.overhead", "--quick", "--output", output]
    subprocess.run(command, check=True, cwd=ROOT, timeout=240)  # noqa: S603 - our own module
    return output.read_text()


def figures(text: str, title: str) -> dict[str, float]:
    """Return the second column of the table under a heading."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (-?\d[\d.]*) \|", section, re.MULTILINE)
    return {name.strip("`"): float(value) for name, value in rows}


def skipped(text: str) -> list[str]:
    return re.findall(r"^- `?(over HTTP|\w+)", text.partition("## Skipped: ")[2], re.MULTILINE)


def test_every_variant_answers_and_has_its_row(page: str) -> None:
    """Bare and ours run everywhere, each peer where it is installed; what does not run is counted."""
    measured = figures(page, "In process")
    missing = {name for name in skipped(page) if name != "over HTTP"}
    assert {BARE.name, OURS.name} <= set(measured)
    assert {BARE.name, OURS.name, *(peer.name for peer in PEERS)} == {*measured, *missing}
    assert f"## Skipped: {len(skipped(page))}\n" in page


def test_both_halves_measure_the_same(page: str) -> None:
    """What is measured in process is measured over HTTP, too, if something can ask there."""
    over = figures(page, "Over HTTP")
    assert over.keys() == (set() if "over HTTP" in skipped(page) else figures(page, "In process").keys())


def test_parts_of_ours_have_their_rows(page: str) -> None:
    """Each part that can be switched off is measured, and what happens beside requests."""
    parts = figures(page, "What each part of ours costs")
    assert {"id in and out", "+ route, histogram with exemplar, log record", "+ line; that is all"} <= parts.keys()
    assert "| beside requests" in page


def test_ours_passes_every_check(page: str) -> None:
    """What the others are asked is what this project promises."""
    rows = re.findall(r"^\| \d\. (.+?) \| (\S+) \|", page, re.MULTILINE)
    assert [(check, "yes") for check in CHECKS] == rows
