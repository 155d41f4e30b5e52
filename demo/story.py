"""The story of a run, on one screen: from the spike to the lines of one slow request."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from demo import answers, plot
from demo.answers import Answers
from demo.evidence import Line
from triage.console import Console
from triage.explain import Explanation
from triage.models import LogLine
from triage.timestamps import clock, parse
from triage.trace import show_lines

_HEIGHT, _WIDTH = 4, 96
_MOST_LINES = 10
_MOST_CAUSES = 2


def tell(screen: Console, folder: Path) -> None:
    """Tell it; `DemoError` if there is no run in `folder`."""
    told = answers.ask(folder)
    screen.line()
    if told.explanation.spike is None:
        screen.line(("There was no spike", "bold"), f" in the latency of {told.requests} requests.")
    else:
        _when(screen, told, told.explanation.spike.start, told.explanation.spike.end)
    _latencies(screen, told)
    _plot(screen, told)
    if told.slowest:
        _slowest(screen, told.slowest)
        _lines(screen, told.lines)
        _common(screen, told.explanation, told.faults)
    screen.line()


def _when(screen: Console, told: Answers, start: float, end: float) -> None:
    found = f" from {clock(start)[:10]} to {clock(end)[:10]} UTC, found in the metrics alone."
    screen.line(("The spike", "bold"), found)
    for fault in told.faults:
        began = parse(fault["timestamp"])
        side = "later" if start >= began else "earlier"
        screen.line(f"  In truth, the fault began at {clock(began)[:10]}; found {abs(start - began):.1f} s {side}.")
    if not told.faults:
        screen.line("  Nobody started a fault.")


def _latencies(screen: Console, told: Answers) -> None:
    rows: list[Sequence[str]] = [("", *told.latencies)]
    for number, name in enumerate(("p50", "p99")):
        rows.append((name, *(_time(each[number]) for each in told.latencies.values())))
    screen.table(rows if len(told.latencies) > 1 else rows[1:], right=range(1, len(told.latencies) + 1))


def _plot(screen: Console, told: Answers) -> None:
    heights = [p99 for _, p99 in told.by_second]
    if not heights:
        return
    screen.line(("The p99 of each second", "bold"), f", as the buckets tell it: up to {_time(max(heights))}")
    columns = plot.columns(heights, _WIDTH)
    for row in plot.bars(columns, _HEIGHT):
        screen.line("  ", (row.rstrip(), "red" if told.slowest else "green"))
    first, last = (clock(told.by_second[place][0])[:8] for place in (0, -1))
    screen.line(f"  {first}{last:>{max(9, len(columns) - len(first))}}")


def _slowest(screen: Console, slowest: Sequence[LogLine]) -> None:
    screen.line(("The slowest requests", "bold"), " of the spike")
    rows = []
    for at, fields in slowest:
        what = f"{fields.get('method')} {fields.get('route')}"
        took = _time(float(str(fields.get("duration_ms"))) / 1000)
        whose = f"user {fields['user_id']}" if "user_id" in fields else ""
        rows.append((clock(at)[:10], what, str(fields.get("status")), took, whose, str(fields.get("trace_id"))))
    screen.table(rows, right=(3,))


def _lines(screen: Console, lines: Sequence[LogLine]) -> None:
    services = sorted({str(line.fields.get("service")) for line in lines})
    which = "slow request, from both services" if len(services) > 1 else "slow request"
    screen.line((f"The lines of one {which}", "bold"), f": {lines[0].fields.get('trace_id')}")
    show_lines(lines[:_MOST_LINES], screen)


def _common(screen: Console, explanation: Explanation, faults: Sequence[Line]) -> None:
    slow, fast = explanation.slow, explanation.fast
    screen.line((f"What {slow} slow requests have in common", "bold"), f", against {fast} fast ones")
    for cause in explanation.causes[:_MOST_CAUSES]:
        values = ", ".join(sorted((str(value.json) for value in cause.values), key=lambda text: (len(text), text)))
        screen.line(f"  {cause.field} is {values}: {cause.slow} of the slow, {cause.fast} of the fast")
    if not explanation.causes:
        screen.line("  Nothing: no field tells them apart.")
    if explanation.parts:
        most = explanation.parts[0]
        name = most.name.removesuffix("_ms").replace("_", " ")
        told = f"{_time(most.slow_ms / 1000)}; of the fast ones, {_time(most.fast_ms / 1000)}"
        screen.line(f"  most of their time is {name}: {told}")
    for fault in faults:
        screen.line(f"  In truth, it was {fault['fault']} for the users {', '.join(map(str, fault['fault_users']))}.")


def _time(value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
