"""What others wrote does nothing to a terminal."""

import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from triage.errors import say
from triage.harmless import harmless, harmless_json
from triage.screen import Screen

NASTY = [
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


def shown(text: str) -> str:
    """Return what a terminal is sent, without the colours that are ours."""
    out = io.StringIO()
    screen = Screen(out)
    screen._console._force_terminal = True  # noqa: SLF001 - as if somebody looked
    screen.line(text, (text, "bold red"))
    screen.table([["a", (text, "green"), text]], right=(1,))
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_nasty(nasty: str) -> None:
    """It is seen for what it is, on one line."""
    assert harmless(nasty).isprintable()
    assert shown(nasty).count("\n") == 2
    assert shown(nasty).replace("\n", "").isprintable()
    assert harmless(nasty) in shown(nasty)
    assert harmless_json(nasty).isprintable()


@settings(deadline=None)
@given(some.text(some.characters()))
def test_any_text(text: str) -> None:
    """Whatever a text is, it is printable afterwards; one that was so, stays."""
    assert harmless(text).isprintable()
    assert shown(text).count("\n") == 2
    if text.isprintable():
        assert text == harmless(text)


@settings(deadline=None)
@given(some.recursive(some.none() | some.text(some.characters()) | some.integers(), some.lists))
def test_any_json(value: object) -> None:
    """JSON is printable ASCII, and says the same."""
    text = harmless_json({"value": value})
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert {"value": value} == json.loads(text)


def test_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """A complaint that quotes somebody is one line, too."""
    say("Nobody logged\n\x1b[31m the id")
    assert "Nobody logged \\x1b[31m the id.\n" == capsys.readouterr().err
