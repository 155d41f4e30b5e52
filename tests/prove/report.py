"""docs/proof.md: what `make prove-stack` found, as tables."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.stack.sets import Compared

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"

_HEAD = """\
# What holds when parts of the stack fail

Written by `make prove-stack` on {day}, in {minutes:.0f} minutes on {cores} cores with a load of {load:.0f} at its end:
the whole of docker-compose.yml with three replicas of the service and payments, {users} requests a second at
`LOG_LEVEL=debug`, unless a row says otherwise. The command fails if something is missing, twice, or not as promised;
how fast things are is promised only on a machine that has nothing else to do.

"""


_CALM = 3  # processes that want to run, for each core


def calm() -> bool:
    """Whether this machine has little else to do, so that a wall clock says something."""
    return os.getloadavg()[0] < _CALM * (os.cpu_count() or 1)


class Report:
    """Tables, in the order in which they were begun."""

    def __init__(self, users: int) -> None:
        """Begin with none."""
        self._users = users
        self._began = time.monotonic()
        self._tables: dict[str, tuple[str, Sequence[str], list[Sequence[str]]]] = {}

    def table(self, title: str, head: Sequence[str], words: str) -> None:
        """Begin a table; `words` say what it is about."""
        self._tables[title] = (words, head, [])

    def row(self, title: str, *cells: object) -> None:
        """Add a row to a table."""
        row = [f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
        self._tables[title][2].append(row)
        print(f"{title}: {' | '.join(row)}", flush=True)

    def lines(self, what: str, found: Compared) -> None:
        """Add a row about lines."""
        self.row(LINES, what, f"{found.written:,}", f"{found.stored:,}", found.missing, found.twice, f"{found.again:,}")

    def write(self) -> None:
        """Write the page."""
        minutes = (time.monotonic() - self._began) / 60
        page = _HEAD.format(
            day=f"{datetime.now(UTC):%Y-%m-%d}",
            minutes=minutes,
            cores=os.cpu_count(),
            load=os.getloadavg()[0],
            users=self._users,
        )
        for title, (words, head, rows) in self._tables.items():
            cells = [head, ["---"] * len(head), *rows]
            text = "\n".join(f"| {' | '.join(row)} |" for row in cells)
            page += f"## {title}\n\n{words}\n\n{text}\n\n"
        PAGE.write_text(page.rstrip() + "\n")


LINES, KILLS, HEALTH, FIGURES = "Lines", "Kills", "Health", "Further figures"


def new(users: int) -> Report:
    """Return a report with its tables."""
    report = Report(users)
    report.table(
        LINES,
        ["while", "lines written", "in Loki", "missing", "twice", "counted again"],
        "Two sets, compared by the whole text of each line: what `docker logs` has, and what Loki returns. *Counted "
        "again* is what `count_over_time` counts beyond that: Alloy that was killed reads five minutes again, and "
        "Loki shows such a line once, but counts some of them twice.",
    )
    report.table(
        KILLS,
        ["killed (SIGKILL)", "times", "healthy again after, at most (s)"],
        "Each was started again at once.",
    )
    report.table(
        HEALTH,
        ["what hangs (SIGSTOP)", "who is unhealthy", "after (s)", "healthy again after (s)"],
        "A service is unhealthy when it cannot do its own work. Grafana shows, and Alloy carries: they need what they "
        "ask. Prometheus and the load measure: a target that does not answer is a result. No container restarted.",
    )
    report.table(FIGURES, ["what", "found"], "What else was held to a promise.")
    return report
