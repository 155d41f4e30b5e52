"""The answer of a run: did it keep its thresholds, or could it not measure them at all."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from triage.measured import Generator, Latencies, Measured, RunFacts, Timed
from triage.model import Window
from triage.reconcile import Reconciliation
from triage.thresholds import Thresholds
from triage.validity import why_invalid

_AT_LEAST = frozenset({"achieved"})  # all others are at most


class Word(StrEnum):
    """The verdict in a word."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INVALID = "INVALID"


class Check(NamedTuple):
    """One threshold, by its table and key in the file, and what was measured."""

    where: str
    what: str
    measured: float
    threshold: float

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.what in _AT_LEAST

    @property
    def ok(self) -> bool:
        """Whether it is kept."""
        return self.measured >= self.threshold if self.at_least else self.measured <= self.threshold


class Verdict(NamedTuple):
    """A run's answer, and what it is made of. `reconciliation` and `dead` are None where the stack was not asked.

    `reasons` say why the run is not valid; `dead` are the trace ids of requests that are shown and not in the logs.
    """

    facts: RunFacts
    measured: Measured
    generators: Sequence[Generator]
    reconciliation: Reconciliation | None
    dead: frozenset[str] | None
    checks: Sequence[Check]
    reasons: Sequence[str]

    @property
    def word(self) -> Word:
        """The answer: that nothing was measured is more than that something failed."""
        if self.reasons:
            return Word.INVALID
        return Word.PASS if all(check.ok for check in self.checks) else Word.FAIL

    @property
    def why(self) -> str:
        """One line for what did not go well."""
        return " ".join(self.reasons) or "; ".join(told(check) for check in self.checks if not check.ok)

    @property
    def achieved_rate(self) -> float:
        """How many requests each second were sent when they were due."""
        return self.measured.in_time / self.facts.seconds

    @property
    def window(self) -> Window:
        """From the run's beginning to its end, or to its last answer."""
        ends = [each for each in (self.facts.ended, self.measured.ended) if each is not None]
        return Window(self.facts.began, max(ends, default=self.facts.began + self.facts.seconds))


def verdict(  # noqa: PLR0913, PLR0917 - these are what a verdict is made of
    facts: RunFacts,
    measured: Measured,
    generators: Sequence[Generator],
    reconciliation: Reconciliation | None,
    dead: frozenset[str] | None,
    thresholds: Thresholds,
) -> Verdict:
    """Hold a run against its thresholds, whose routes all had requests, if there were any."""
    checks: list[Check] = []
    if measured.overall is not None:
        achieved = measured.in_time / facts.seconds / facts.rate
        checks += _checks("overall", measured.overall, thresholds.overall, achieved=achieved)
        for route, limits in thresholds.routes.items():
            checks += _checks(route, measured.routes[route], limits)
    if reconciliation is not None and thresholds.differences is not None:
        checks.append(Check("reconciliation", "differences", differences(reconciliation), thresholds.differences))
    if dead is not None and thresholds.dead is not None:
        checks.append(Check("links", "dead", len(dead), thresholds.dead))
    reasons = tuple(why_invalid(facts, measured, generators))
    return Verdict(facts, measured, generators, reconciliation, dead, checks, reasons)


def _checks(where: str, found: Latencies, limits: Mapping[str, float], **more: float) -> Iterable[Check]:
    values = {**found._asdict(), "failures": found.failures / found.requests, **more}
    return [Check(where, what, values[what], limit) for what, limit in limits.items()]


def differences(found: Reconciliation) -> int:
    """Return how many requests are not the same everywhere."""
    sent = sum(max(1, len(each.ids)) for each in found.sent.differences) if found.sent else 0
    rows = [each.row for each in found.counted.differences] if found.counted else []
    return sent + sum(max(row.logged - row.counted, row.counted - row.logged - row.edge) for row in rows)


def lineless(found: Reconciliation | None) -> Mapping[str, str]:
    """Return the request ids that can have no lines, and why."""
    sent = found and found.sent
    if not sent:
        return {}
    return {
        **dict.fromkeys(sent.never_arrived, "never arrived"),
        **dict.fromkeys(sent.unknown, "unknown: a process was killed"),
    }


def dead_links(shown: Iterable[Timed], logged: frozenset[str], found: Reconciliation) -> frozenset[str]:
    """Return the trace ids of shown requests that should have lines, and are not among those that were logged."""
    excused = lineless(found)
    ids = {each.sent.trace_id for each in shown if each.sent.request_id not in excused}
    return frozenset(ids - logged)


def told(check: Check) -> str:
    """Return a check in words."""
    name = f"{check.where} {check.what}"
    return f"{name} is {number(check.what, check.measured)}, the threshold is {number(check.what, check.threshold)}"


def number(what: str, value: float) -> str:
    """Return a number of a check as a person reads it."""
    if what.endswith("_ms"):
        return f"{value:,.1f} ms"
    if what in {"differences", "dead"}:
        return f"{value:,.0f}"
    return f"{value:.2%}"
