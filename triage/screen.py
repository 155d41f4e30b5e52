"""The terminal. Whatever is shown passes through here, and is harmless afterwards."""

from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console
from rich.text import Text

from triage.harmless import harmless

Piece = str | tuple[str, str]  # a text, or a text and its style


class _Console(Console):
    """rich's own ends the process with an exit code that means something else here."""

    def on_broken_pipe(self) -> None:
        """Let the command know."""
        raise BrokenPipeError


class Screen:
    """Lines and tables in colour, if somebody looks at them."""

    def __init__(self, file: IO[str]) -> None:
        """Write to `file`."""
        self._console = _Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, *pieces: Piece) -> None:
        """Show a line, which is as long as it is: a terminal wraps it, a pipe takes it whole."""
        text = Text(no_wrap=True)
        for piece in pieces:
            said, style = (piece, "") if isinstance(piece, str) else piece
            text.append(harmless(said), style=style)
        self._console.print(text, soft_wrap=True)

    def table(self, rows: Iterable[Sequence[Piece]], right: Iterable[int] = ()) -> None:
        """Show rows in columns, of which those in `right` end at the same place."""
        cells = [[(piece, "") if isinstance(piece, str) else piece for piece in row] for row in rows]
        safe = [[(harmless(said), style) for said, style in row] for row in cells]
        widths = [max(Text(row[place][0]).cell_len for row in safe) for place in range(len(safe[0]))] if safe else []
        for row in safe:
            padded = []
            for place, (said, style) in enumerate(row):
                gap = " " * (widths[place] - Text(said).cell_len)
                last = place == len(widths) - 1
                padded.append((gap + said if place in right else said + gap * (not last), style))
            self.line(*(piece for cell in padded for piece in ("  ", cell)))
