"""Terminal output. Log lines are untrusted, so every text is sanitized before it is printed."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import IO

import rich.console
from rich.table import Table
from rich.text import Text

from triage.errors import OutputClosedError

Piece = str | tuple[str, str]  # a text, or a text and its style

_WIDTH = 100_000  # columns; lines are never cut or folded, so that ids and links can be copied and searched


def sanitize(text: str) -> str:
    """Return `text` with every character that is not printable replaced by an escape sequence.

    This covers terminal control sequences, line breaks, bidirectional overrides, zero-width characters and surrogates.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else escape(each) for each in text)


def escape(character: str) -> str:
    """Return the escape sequence of a character, as in a string literal of Python and of Go, and so of LogQL."""
    code = ord(character)
    if code > 0xFFFF:  # noqa: PLR2004 - needs eight digits
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"  # noqa: PLR2004 - two digits are enough


def to_json(value: object, indent: int | None = 2) -> str:
    """Return JSON in ASCII, which needs no further sanitizing."""
    separators = None if indent else (",", ":")
    return json.dumps(value, ensure_ascii=True, indent=indent, separators=separators, default=str)


def print_json(value: object) -> None:
    """Print JSON on stdout."""
    print_text(f"{to_json(value)}\n")


def print_text(text: str) -> None:
    """Print sanitized text on stdout; raise `OutputClosedError` if its reader has closed it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosedError from None


def print_error(message: str) -> None:
    """Print a message on stderr as one sentence."""
    text = sanitize(" ".join(message.split()))
    if text[-1:] not in {".", "!", "?"}:
        text += "."
    sys.stderr.write(f"{text}\n")


class _RichConsole(rich.console.Console):
    def on_broken_pipe(self) -> None:
        """Raise instead of exiting with 1, which has another meaning here."""
        raise OutputClosedError


class Console:
    """Print lines and tables, with colours if the output is a terminal."""

    def __init__(self, file: IO[str]) -> None:
        """Write to `file`."""
        self._console = _RichConsole(file=file, width=_WIDTH, highlight=False, markup=False, emoji=False)

    def line(self, *pieces: Piece) -> None:
        """Print one line, however long."""
        text = Text(no_wrap=True)
        for piece in pieces:
            text.append_text(_text(piece))
        self._console.print(text, soft_wrap=True)

    def table(self, rows: Iterable[Sequence[Piece]], header: Sequence[str] = (), right: Iterable[int] = ()) -> None:
        """Print rows in aligned columns; `right` are the indices of right-aligned columns."""
        cells = [[_text(piece) for piece in row] for row in rows]
        if not cells and not header:
            return
        table = Table(box=None, show_header=bool(header), padding=(0, 0, 0, 2))
        for index in range(len(header or cells[0])):
            title = header[index] if header else ""
            table.add_column(title, justify="right" if index in right else "left", no_wrap=True)
        for row in cells:
            table.add_row(*row)
        for segments in self._console.render_lines(table, pad=False):
            text = Text.assemble(*((segment.text, segment.style or "") for segment in segments), no_wrap=True)
            text.rstrip()  # the table pads its last column
            self._console.print(text, soft_wrap=True)


def _text(piece: Piece) -> Text:
    text, style = (piece, "") if isinstance(piece, str) else piece
    return Text(sanitize(text), style=style)
