"""The requests of a run that are worth a look: its slowest and its failed ones, and where their lines are."""

from collections.abc import Sequence
from typing import NamedTuple

from triage.links import trace_logs
from triage.measured import Timed
from triage.moments import clock
from triage.verdict import Verdict, lineless

_DEAD = "not in the logs"


class Shown(NamedTuple):
    """One of the slowest or of the failed requests, and the link to its lines, or why there is none."""

    why: str
    timed: Timed
    link: str | None
    without: str = ""

    @property
    def route(self) -> str:
        """Its method and template."""
        return f"{self.timed.sent.method} {self.timed.sent.route}"

    @property
    def cells(self) -> Sequence[str]:
        """Return it as a row of a table, but the link."""
        sent = self.timed.sent
        times = (sent.client_ms, self.timed.server_ms, self.timed.difference_ms)
        return (
            clock(sent.at),
            self.why,
            sent.request_id,
            self.route,
            sent.status or "no answer",
            *("-" if each is None else f"{each:,.1f}" for each in times),
        )


#: What the cells are.
COLUMNS = ("sent at", "", "request id", "route", "status", "client ms", "server ms", "difference")


def worst(found: Verdict, grafana: str) -> Sequence[Shown]:
    """Return the slowest and the failed requests."""
    excused, dead = lineless(found.reconciliation), found.dead or frozenset()
    told = [*(("slow", each) for each in found.measured.slowest), *(("failed", each) for each in found.measured.failed)]
    shown = []
    for why, each in told:
        without = excused.get(each.sent.request_id, _DEAD if each.sent.trace_id in dead else "")
        # Its end is in the middle of what is shown.
        link = trace_logs(grafana, each.sent.trace_id, each.sent.at + each.sent.client_ms / 1000)
        shown.append(Shown(why, each, None if without else link, without))
    return shown


def left_out(found: Verdict) -> int:
    """Return how many more requests failed than are shown."""
    return 0 if found.measured.overall is None else found.measured.overall.failures - len(found.measured.failed)
