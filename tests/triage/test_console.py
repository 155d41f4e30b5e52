"""Untrusted text cannot control a terminal."""

import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.console import Console, print_error, sanitize, to_json

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x9d0;t\x9c",
    "[bold red]markup[/]",
    "[/]",
    "[link=http://evil]x[/link]",
    ":smile:",
    "\u202etxt.exe",
    "\u2066a\u2069",
    "\u200b\u200d",
    "\u2028\u2029",
    "\r overwritten",
    "\b\b\b",
    "\x00",
    "\x7f",
    "\x85",
    "a\nb",
    "a\tb",
    "\U000e0041\U000f0000",
    "\ufeff",
    "\x1bP1$r\x1b\\",
    "\x1b[?1049h",
    "\x1b_Gx\x1b\\",
    "\u0600",
    "' OR 1=1; --",
    '"}',
    "$files {lines} {objects}",
    "%s{}",
]


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as if to a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")


def printed(text: str) -> str:
    """Print a text in a line and a table, and return the output without its colours."""
    out = io.StringIO()
    console = Console(out)
    console.line(text, (text, "bold red"))
    console.table([["a", (text, "green"), text]], right=(1,))
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text(text: str) -> None:
    """It is printed with escapes, on one line."""
    assert sanitize(text).isprintable()
    assert printed(text).count("\n") == 2
    assert printed(text).replace("\n", "").isprintable()
    assert sanitize(text) in printed(text)
    assert to_json(text).isprintable()


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_text(text: str) -> None:
    """Every text is printable afterwards, and unchanged if it already was."""
    assert sanitize(text).isprintable()
    assert printed(text).replace("\n", "").isprintable()
    assert printed(text).count("\n") == 2
    if text.isprintable():
        assert text == sanitize(text)


@settings(deadline=None)
@given(st.recursive(st.none() | st.text() | st.integers(), st.lists))
def test_any_json(value: object) -> None:
    """JSON is printable ASCII, and decodes to the same value."""
    text = to_json({"value": value})
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert {"value": value} == json.loads(text)


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """An error message is one sanitized sentence."""
    print_error("No log lines\n\x1b[31m for this id")
    assert "No log lines \\x1b[31m for this id.\n" == capsys.readouterr().err


def test_lines_and_tables_are_not_folded() -> None:
    """Long ids and links stay on one line, and columns are aligned without trailing spaces."""
    out = io.StringIO()
    Console(out).table([("a", "x" * 500), ("long", "y")], header=("one", "two"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert ["  one   two", "  a     " + "x" * 500, "  long  y"] == lines
