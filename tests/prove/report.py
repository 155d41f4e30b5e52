"""docs/proof.md: the results of `make prove-stack` as tables."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.stack.comparison import Comparison

DOCS = Path(__file__).parents[2] / "docs"

_HEAD = """\
# Failures of parts of the stack: test results

Written by `make prove-stack` on {day}, in {minutes:.0f} minutes on {cores} cores with a load average of {load:.0f}
at the end. The stack is the whole docker-compose.yml with three replicas of the service and {users} requests per second
at `LOG_LEVEL=debug`, except where a row has a different load. The command fails if lines are missing or stored twice,
or if a promise is broken. Promises about time apply only to an idle machine.

"""


_MAX_LOAD = 3  # load average per core


def is_idle() -> bool:
    """Return whether the machine is idle enough for measurements of time."""
    return os.getloadavg()[0] < _MAX_LOAD * (os.cpu_count() or 1)


class Report:
    """Tables, in the order in which they were added."""

    def __init__(self, page: Path, head: str) -> None:
        """Create an empty report; `head` is the beginning of the page."""
        self._page, self._head = page, head
        self._began = time.monotonic()
        self._tables: dict[str, tuple[str, Sequence[str], list[Sequence[str]]]] = {}

    def table(self, title: str, head: Sequence[str], description: str) -> None:
        """Add a table without rows."""
        self._tables[title] = (description, head, [])

    def row(self, title: str, *cells: object) -> None:
        """Add a row to a table."""
        row = [f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
        self._tables[title][2].append(row)
        print(f"{title}: {' | '.join(row)}", flush=True)

    def lines(self, scenario: str, result: Comparison) -> None:
        """Add a row to the table of lines."""
        counts = f"{result.written:,}", f"{result.stored:,}", result.missing, result.duplicates, f"{result.recounted:,}"
        self.row(LINES, scenario, *counts)

    def write(self) -> None:
        """Write the page."""
        minutes = (time.monotonic() - self._began) / 60
        page = self._head.format(
            day=f"{datetime.now(UTC):%Y-%m-%d}",
            minutes=minutes,
            cores=os.cpu_count(),
            load=os.getloadavg()[0],
        )
        for title, (description, head, rows) in self._tables.items():
            cells = [head, ["---"] * len(head), *rows]
            text = "\n".join(f"| {' | '.join(row)} |" for row in cells)
            page += f"## {title}\n\n{description}\n\n{text}\n\n"
        self._page.write_text(page.rstrip() + "\n")


LINES, KILLS, HEALTH, FIGURES = "Lines", "Kills", "Health", "Further figures"


def new(users: int) -> Report:
    """Return a report with empty tables."""
    report = Report(DOCS / "proof.md", _HEAD.replace("{users}", str(users)))
    report.table(
        LINES,
        ["scenario", "lines written", "in Loki", "missing", "stored twice", "counted twice"],
        "Compares the output of `docker logs` with the lines that Loki returns, by the whole text of each line. "
        "*Counted twice* is how many more lines `count_over_time` counts: after a crash, Alloy reads the last five "
        "minutes again; Loki shows each of these lines once, but counts some of them twice.",
    )
    report.table(
        KILLS,
        ["killed (SIGKILL)", "times", "maximum time until healthy (s)"],
        "Each container was restarted immediately.",
    )
    report.table(
        HEALTH,
        ["frozen (SIGSTOP)", "unhealthy", "after (s)", "healthy again after (s)"],
        "A service is unhealthy if it cannot do its work. Grafana and Alloy depend on the servers that they query or "
        "send to. Prometheus and the load generator do not depend on their targets: they report a target that does "
        "not respond. No container restarted.",
    )
    report.table(FIGURES, ["figure", "result"], "Other measurements with a promise.")
    return report
