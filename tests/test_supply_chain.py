"""Tools are pinned, and all scripts are checked."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_one_version_of_uv() -> None:
    """The image and `.venv` are made by the same version of uv."""
    (image,) = re.findall(r"\buv==([\d.]+)", (ROOT / "Dockerfile").read_text())
    (local,) = re.findall(r"^uv_version=(\S+)", (ROOT / "scripts/setup").read_text(), re.MULTILINE)
    assert image == local


def test_all_shell_scripts_are_checked() -> None:
    """`make lint` checks every file with the first line of a shell script."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    files = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    scripts = {name for name in files if re.match(rb"#!.*\b(ba)?sh\b", (ROOT / name).read_bytes()[:40])}
    (checked,) = re.findall(r" shellcheck (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert scripts == set(checked.split())


def test_actions_are_pinned() -> None:
    """Every action is pinned to a commit, with its version as a comment."""
    for workflow in (ROOT / ".github/workflows").iterdir():
        used = re.findall(r"uses: (.*)", workflow.read_text())
        assert used
        assert [] == [action for action in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)]
