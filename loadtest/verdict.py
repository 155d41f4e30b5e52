"""The verdict on a load run: whether it met its thresholds, or is not valid."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from loadtest.thresholds import Thresholds
from triage.errors import EXIT_INVALID, EXIT_MISMATCH
from triage.models import Window
from triage.reconcile import Reconciliation
from triage.stores.runs import Generator, Latencies, Measurements, RunPlan, TimedRequest

#: A generator that uses more of its core than this measures its own delays.
MAX_CPU = 0.9
#: The least share of the planned requests that has to be sent in time.
MIN_ACHIEVED = 0.99
#: Seconds by which the clocks may differ; the stack is searched some seconds before and after the run.
MAX_CLOCK_OFFSET = 5.0

_AT_LEAST = frozenset({"achieved"})  # other thresholds are upper limits


class Word(StrEnum):
    """The verdict in one word."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    INVALID = "INVALID"


EXIT_CODES = {Word.PASS: 0, Word.FAIL: EXIT_MISMATCH, Word.INVALID: EXIT_INVALID}


class Check(NamedTuple):
    """A threshold, by its table and key in the file, and the measured value."""

    where: str
    what: str
    measured: float
    threshold: float

    @property
    def at_least(self) -> bool:
        """Whether the threshold is a lower limit."""
        return self.what in _AT_LEAST

    @property
    def ok(self) -> bool:
        """Whether the threshold is met."""
        return self.measured >= self.threshold if self.at_least else self.measured <= self.threshold


class Verdict(NamedTuple):
    """The verdict on a run and its basis. `reconciliation` and `dead` are None if the stack was not queried.

    `reasons` explain why the run is not valid. `dead` are the trace ids of listed requests without log lines.
    """

    plan: RunPlan
    measured: Measurements
    generators: Sequence[Generator]
    reconciliation: Reconciliation | None
    dead: frozenset[str] | None
    checks: Sequence[Check]
    reasons: Sequence[str]

    @property
    def word(self) -> Word:
        """The verdict; an invalid run cannot fail."""
        if self.reasons:
            return Word.INVALID
        return Word.PASS if all(check.ok for check in self.checks) else Word.FAIL

    @property
    def why(self) -> str:
        """What was not met, in one line."""
        return " ".join(self.reasons) or "; ".join(_describe(check) for check in self.checks if not check.ok)

    @property
    def achieved_rate(self) -> float:
        """Requests per second that were sent when they were due."""
        return self.measured.in_time / self.plan.seconds

    @property
    def window(self) -> Window:
        """The time from the start of the run to its end, or to its last response."""
        return run_window(self.plan, self.measured)


def run_window(plan: RunPlan, measured: Measurements) -> Window:
    """Return the time from the start of a run to its end, or to its last response."""
    ends = [each for each in (plan.ended, measured.ended) if each is not None]
    return Window(plan.began, max(ends, default=plan.began + plan.seconds))


def clocks_agree(plan: RunPlan) -> bool:
    """Return whether the clocks of the generator and the service were close enough, as far as known."""
    return abs(plan.clock_offset or 0.0) <= MAX_CLOCK_OFFSET


def judge(  # noqa: PLR0913, PLR0917 - the basis of a verdict
    plan: RunPlan,
    measured: Measurements,
    generators: Sequence[Generator],
    reconciliation: Reconciliation | None,
    dead: frozenset[str] | None,
    thresholds: Thresholds,
) -> Verdict:
    """Compare a run with its thresholds; see `require_routes`."""
    checks: list[Check] = []
    if measured.overall is not None:
        achieved = measured.in_time / plan.seconds / plan.rate
        checks += _latency_checks("overall", measured.overall, thresholds.overall.limits(), achieved=achieved)
        for route, limits in thresholds.routes.items():
            checks += _latency_checks(route, measured.routes[route], limits.limits())
    max_differences, max_dead = thresholds.reconciliation.differences, thresholds.links.dead
    if reconciliation is not None and max_differences is not None:
        checks.append(Check("reconciliation", "differences", count_differences(reconciliation), max_differences))
    if dead is not None and max_dead is not None:
        checks.append(Check("links", "dead", len(dead), max_dead))
    reasons = tuple(_reasons_invalid(plan, measured, generators))
    return Verdict(plan, measured, generators, reconciliation, dead, checks, reasons)


def _latency_checks(where: str, found: Latencies, limits: Mapping[str, float], **others: float) -> Iterable[Check]:
    values = {**found._asdict(), "failures": found.failures / found.requests, **others}
    return [Check(where, what, values[what], limit) for what, limit in limits.items()]


def count_differences(found: Reconciliation) -> int:
    """Return the number of requests that differ between client, logs and metrics."""
    sent = sum(max(1, len(each.ids)) for each in found.sent.differences) if found.sent else 0
    rows = [each.row for each in found.counted.differences] if found.counted else []
    return sent + sum(max(row.logged - row.counted, row.counted - row.logged - row.edge) for row in rows)


def _describe(check: Check) -> str:
    measured, threshold = format_value(check.what, check.measured), format_value(check.what, check.threshold)
    return f"{check.where} {check.what} is {measured}, the threshold is {threshold}"


def format_value(what: str, value: float) -> str:
    """Return a value with the unit of its threshold."""
    if what.endswith("_ms"):
        return f"{value:,.1f} ms"
    if what in {"differences", "dead"}:
        return f"{value:,.0f}"
    return f"{value:.2%}"


def _machine_reasons(plan: RunPlan, measured: Measurements) -> Iterable[str]:
    if measured.without_descriptor:
        yield (
            f"{measured.without_descriptor:,} requests were not sent, because a generator had too many open files. "
            "Raise the limit with ulimit -n, or use more --workers."
        )
    if not clocks_agree(plan):
        offset = plan.clock_offset or 0.0
        yield (
            f"The clock of this machine is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the service's, "
            "so its requests and the service's lines cannot be compared. Synchronize the clocks."
        )


def _reasons_invalid(plan: RunPlan, measured: Measurements, generators: Sequence[Generator]) -> Iterable[str]:
    """Yield a sentence for each reason why a run is not valid."""
    if plan.ended is None:
        yield "The run has no end: it is still running, or it was killed."
    elif plan.interrupted:
        yield "The run was interrupted."
    yield from _machine_reasons(plan, measured)
    for each in generators:
        if not each.stopped and plan.ended is not None:
            yield f"Generator {each.worker} was lost: it did not stop normally."
    if (missing := plan.workers - len(generators)) > 0:
        yield f"{missing} of {plan.workers} generators did not start."
    busy = [each for each in generators if each.cpu is not None and each.cpu > MAX_CPU]
    for each in busy:
        yield (
            f"Generator {each.worker} was busy: it used {each.cpu:.1%} of its core over five seconds, more than "
            f"{MAX_CPU:.0%}, so it measured its own delays. Use more --workers, or a lower --rate."
        )
    achieved = measured.in_time / plan.seconds
    if measured.overall is None:
        yield "No request was made."
    elif achieved / plan.rate < MIN_ACHIEVED:
        rates = f"{achieved:.1f} of the planned {plan.rate:.1f} requests per second"
        if plan.loop == "closed" and not busy:
            yield (
                f"Only {rates} were made although the generators were idle: they waited for the service. "
                "A closed loop hides such delays, because it sends no requests meanwhile: use --loop open to see them."
            )
        else:
            yield f"Only {rates} were sent when they were due, which is less than {MIN_ACHIEVED:.0%}."


def without_lines(found: Reconciliation | None) -> Mapping[str, str]:
    """Return the ids of requests that cannot have log lines, and why."""
    if found is None or found.sent is None:
        return {}
    return {
        **dict.fromkeys(found.sent.never_arrived, "never arrived"),
        **dict.fromkeys(found.sent.unknown, "unknown: a process was killed"),
    }


class ListedRequest(NamedTuple):
    """One of the slowest or failed requests; if it has no log lines, `without` is the reason."""

    why: str
    request: TimedRequest
    without: str = ""


def listed_requests(found: Verdict) -> Sequence[ListedRequest]:
    """Return the slowest and the failed requests."""
    excused, dead = without_lines(found.reconciliation), found.dead or frozenset()
    requests = [("slow", each) for each in found.measured.slowest] + [
        ("failed", each) for each in found.measured.failed
    ]
    return [
        ListedRequest(
            why,
            each,
            excused.get(each.sent.request_id, "not in the logs" if each.sent.trace_id in dead else ""),
        )
        for why, each in requests
    ]


def count_unlisted(found: Verdict) -> int:
    """Return the number of failed requests that are not listed."""
    return 0 if found.measured.overall is None else found.measured.overall.failures - len(found.measured.failed)
