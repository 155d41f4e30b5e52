"""The story of a run, on one screen: from the spike to the lines of the request that was slowest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo import answers, plot
from demo.answers import Spike, seconds
from demo.evidence import Evidence, Line, read

_SLOWEST = 5
_MOST_LINES = 10
_PLOT = (4, 90)  # rows and columns
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


def tell(console: Console, folder: Path) -> None:
    """Tell it; `DemoError` if there is no run in `folder`."""
    evidence = read(folder)
    requests = answers.finished(evidence)
    spike = answers.find_spike(evidence.samples)
    if spike is None:
        durations = [line["duration_ms"] for line in requests]
        _head(console, "No spike", "in the metrics, of which half a second is the objective.")
        _say(
            console, f"Of {len(requests)} requests, 99 in 100 took at most {_ms(answers.percentile(durations, 0.99))}."
        )
        _plot(console, requests, None)
        return
    _when(console, evidence, spike)
    _latency(console, requests, spike)
    _plot(console, requests, spike)
    during = [line for line in requests if spike.start <= seconds(line) <= spike.end]
    slowest = sorted(during, key=lambda line: -line["duration_ms"])[:_SLOWEST]
    _requests(console, slowest)
    # Of the slowest that both services have lines of, if there is one: they tell more.
    both = (line for line in slowest if len(answers.services(evidence, line["trace_id"])) > 1)
    _lines(console, evidence, next(both, slowest[0]))
    _common(console, evidence, during)


def _when(console: Console, evidence: Evidence, spike: Spike) -> None:
    _head(console, "The spike", f"{_clock(spike.start)} to {_clock(spike.end)} UTC, found in the metrics alone.")
    for fault in evidence.faults:
        off = spike.start - seconds(fault)
        side = "after" if off >= 0 else "before"
        _say(
            console,
            f"The fault began at {_clock(seconds(fault), 1)}: the start that was found is {abs(off):.1f} s {side} it.",
        )
    if not evidence.faults:
        _say(console, "Nobody started a fault.")


def _latency(console: Console, requests: Sequence[Line], spike: Spike) -> None:
    parts = {
        "before": [line["duration_ms"] for line in requests if seconds(line) < spike.start],
        "during": [line["duration_ms"] for line in requests if spike.start <= seconds(line) <= spike.end],
        "after": [line["duration_ms"] for line in requests if seconds(line) > spike.end],
    }
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        told = "".join(f"{part} {_ms(answers.percentile(each, share)):<12}" for part, each in parts.items())
        _say(console, f"{name}  {told}")


def _plot(console: Console, requests: Sequence[Line], spike: Spike | None) -> None:
    start, end = int(seconds(requests[0])), int(seconds(requests[-1]))
    worst = [0.0] * (end - start + 1)
    for line in requests:
        second = int(seconds(line)) - start
        worst[second] = max(worst[second], line["duration_ms"])
    _head(console, "The slowest", f"of each second; at most {_ms(max(worst))}.")
    height, width = _PLOT
    values = plot.columns(worst, width)
    for row in plot.bars(values, height):
        console.print(Text("  " + row, style="red" if spike else "green"))
    left, right = _clock(start), _clock(end)
    _say(console, left + right.rjust(len(values) - len(left)))


def _requests(console: Console, slowest: Sequence[Line]) -> None:
    _head(console, "The slowest requests", "during the spike.")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for line in slowest:
        user = f"user {line['user_id']}" if "user_id" in line else ""
        what = f"{line['method']} {line['route']}"
        table.add_row(
            " ", _clock(seconds(line), 1), what, str(line["status"]), _ms(line["duration_ms"]), user, line["trace_id"]
        )
    console.print(table)


def _lines(console: Console, evidence: Evidence, worst: Line) -> None:
    _head(console, "The lines", f"of {worst['trace_id']}, from all services.")
    lines = answers.lines(evidence, worst["trace_id"])
    for line in lines[:_MOST_LINES]:
        text = f"  {_clock(seconds(line), 3)}  {line['service']:<9} {line['level']:<8} {line['message']}"
        console.print(Text(text, style=_COLOURS.get(line["level"], "")), soft_wrap=True)


def _common(console: Console, evidence: Evidence, during: Sequence[Line]) -> None:
    _head(console, "What they have in common,", "the slow requests against the fast ones of the same time.")
    for field, values, slow, fast in answers.common(during)[:2]:
        _say(console, f"{field} is one of {', '.join(values)}: {slow:.0%} of the slow, {fast:.0%} of the fast.")
    parts = answers.breakdown(during)
    whole = parts.pop("duration_ms")
    told = ", ".join(f"{_ms(value)} {name}" for name, value in sorted(parts.items(), key=lambda part: -part[1]))
    _say(console, f"Of {_ms(whole)}, they spent {told}.")
    for fault in evidence.faults:
        _say(console, f"The fault was {fault['fault']}, for the users {', '.join(map(str, fault['fault_users']))}.")


def _head(console: Console, title: str, rest: str) -> None:
    console.print(Text.assemble((title, "bold"), " ", rest), soft_wrap=True)


def _say(console: Console, sentence: str) -> None:
    console.print(Text(f"  {sentence}"), soft_wrap=True)


def _clock(at: float, digits: int = 0) -> str:
    text = f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}"
    return text[: 9 + digits] if digits else text[:8]


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004 - a second
