"""The page and the tests agree."""

import ast
import re
from pathlib import Path

from tests.integrations.projects import PAGE, examples, sections

TESTS = [path for path in sorted(Path(__file__).parent.glob("test_*.py")) if path.name != Path(__file__).name]
ROWS = re.findall(r"^\| \[([^\]]+)\]\(#[^)]+\) \| [^|]+ \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)


def test_every_section_has_a_row_and_an_example() -> None:
    """The table lists the sections in their order, and each has at least one example."""
    assert list(sections()) == [name for name, _ in ROWS]
    assert all(examples(name) for name in sections())


def test_every_row_names_its_tests_and_every_test_has_a_row() -> None:
    """The tests that the table names are those of this folder."""
    named = [test for _, tests in ROWS for test in re.findall(r"`(test_\w+)`", tests)]
    functions = [
        node.name
        for path in TESTS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert sorted(functions) == sorted(named)


def test_every_example_is_run() -> None:
    """Each code block is used by a test."""
    source = "\n".join(path.read_text() for path in TESTS)
    used = {(name, int(number or 1)) for name, number in re.findall(r'\bexample\(\s*"([^"]+)"(?:, (\d))?\s*\)', source)}
    assert {(name, number + 1) for name in sections() for number in range(len(examples(name)))} == used
