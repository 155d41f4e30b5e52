"""What a person sees while it runs: a handful of lines, and where there is a terminal, how far it is."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar


class Progress:
    """Lines, and below them a bar that is gone in the end."""

    def __init__(self, console: Console) -> None:
        """Tell it on `console`."""
        self._console = console
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[requests]} requests")
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", requests=0, visible=False)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        self._bar.stop()

    def say(self, sentence: str) -> None:
        """Tell what happened."""
        self._console.print(sentence, highlight=False, soft_wrap=True)

    def at(self, passed: float, duration: float, requests: int) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=f"{min(passed, duration):.0f} of {duration:.0f} s",
            completed=passed,
            total=duration,
            requests=requests,
            visible=True,
        )
