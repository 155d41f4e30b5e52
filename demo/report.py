"""The report of a run: from the latency spike to the log lines of one slow request, and what the slow ones share."""

import json
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from demo.artifacts import Artifacts, Line, read_artifacts
from triage import histograms
from triage.explain import SLOW_MS, Explanation, explain
from triage.models import Window
from triage.stores.jsonl import JsonlStore

_WIDTH = 100  # columns
_PLOT_WIDTH, _PLOT_HEIGHT = 96, 4
_SLOWEST = 5
_MAX_LINES = 10
_MAX_CAUSES = 2
_LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}
_LINE_FIELDS = ("statement_ms", "status", "duration_ms", "db_ms")


class ReportConsole(Console):
    """A console with the same width everywhere, which leaves the exit code after a closed pipe to its caller."""

    def __init__(self) -> None:
        """Write to stdout."""
        super().__init__(width=_WIDTH, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Raise instead of exiting with 1, which has another meaning here."""
        raise BrokenPipeError


def progress_bar(console: Console) -> Progress:
    """Return a progress bar, which is visible only on a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[requests]} requests")
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Analysis(NamedTuple):
    """What can be found in the metrics and log lines of a run. Latencies are p50 and p99 in seconds, from metrics."""

    artifacts: Artifacts
    store: JsonlStore
    explanation: Explanation
    requests: int
    latencies: dict[str, tuple[float, ...]]
    p99_by_second: Sequence[tuple[float, float]]
    #: `request.finished` lines of the slow requests in the spike, the slowest first.
    slow: Sequence[Line]
    #: The slow request whose log lines are shown.
    example: Line | None
    example_lines: Sequence[Line]


def analyze(folder: Path) -> Analysis:
    """Analyze the files of a run; raise `DemoError` if `folder` has none, or `StoreError` if they cannot be read."""
    artifacts, store = read_artifacts(folder), JsonlStore([folder])
    explanation = explain(store, store)
    scrapes = store.scrapes("api")
    first, last = scrapes[0], scrapes[-1]
    windows = {"": Window(first.at, last.at)}
    slow: list[Line] = []
    if (spike := explanation.window) is not None:
        windows = {"before": Window(first.at, spike.start), "during": spike, "after": Window(spike.end, last.at)}
        slow = _slow_requests(artifacts, spike)
    example = _choose_example(slow, explanation)
    increases = [(each.start, histograms.total(each)) for each in histograms.increases(scrapes)]
    return Analysis(
        artifacts=artifacts,
        store=store,
        explanation=explanation,
        requests=round(sum(each.total for labels, each in last.series.items() if labels.route != "/faults")),
        latencies={name: histograms.quantiles(scrapes, window, (0.5, 0.99)) for name, window in windows.items()},
        # Seconds without requests have no latency.
        p99_by_second=[(at, histograms.quantile(0.99, buckets)) for at, buckets in increases if any(buckets.values())],
        slow=slow,
        example=example,
        example_lines=[] if example is None else _log_lines(store, example["trace_id"]),
    )


def _slow_requests(artifacts: Artifacts, window: Window) -> list[Line]:
    api = (line for (service, *_), lines in artifacts.finished.items() if service == "api" for line in lines)
    slow = [line for line in api if line["duration_ms"] > SLOW_MS and window.start <= time_of(line) <= window.end]
    return sorted(slow, key=lambda line: -line["duration_ms"])


def _choose_example(slow: Sequence[Line], explanation: Explanation) -> Line | None:
    """Return a typical request of the incident, if possible one with lines of both services, or with a body.

    It has a value that was found as the cause, and is not much faster than the median of those requests: a faster one
    may be slow for another reason.
    """
    if explanation.causes:
        cause = explanation.causes[0]
        values = {value.json for value in cause.values}
        slow = [line for line in slow if cause.field in line and json.dumps(line[cause.field]) in values] or slow
    if not slow:
        return None
    least_ms = 0.8 * statistics.median(line["duration_ms"] for line in slow)
    candidates = [line for line in slow if line["duration_ms"] >= least_ms]
    return max(candidates, key=lambda line: ("upstream_calls" in line, line["method"] == "POST"))


def _log_lines(store: JsonlStore, trace_id: str) -> list[Line]:
    """Return the log lines of a request, without debug lines except the first, which names the operation."""
    lines = [dict(line.fields) for line in store.trace(trace_id).lines]
    logged = [line for line in lines if "level" in line]  # Locust's record of the request has no level
    return [line for index, line in enumerate(logged) if index == 0 or line["level"] != "debug"]


def show(console: Console, analysis: Analysis) -> None:
    """Print the report."""
    spike = analysis.explanation.spike
    console.print()
    if spike is None:
        console.print(_heading("No latency spike", f" in {analysis.requests} requests"))
    else:
        found = f" from {_clock(spike.start)} to {_clock(spike.end)} UTC, found in the metrics alone"
        console.print(_heading("Latency spike", found))
        _show_fault_start(console, analysis.artifacts.faults, spike.start)
    _show_latencies(console, analysis)
    if analysis.example is not None:
        _show_slowest(console, analysis.slow, analysis.example)
        _show_example(console, analysis.example, analysis.example_lines)
        _show_causes(console, analysis.explanation)
        for fault in analysis.artifacts.faults:
            console.print(f"  The injected fault was {fault['fault']} for users {_join(fault['fault_users'])}.")
    console.print()


def _show_fault_start(console: Console, faults: Sequence[Line], spike_start: float) -> None:
    for fault in faults:
        off = spike_start - time_of(fault)
        side = "later" if off >= 0 else "earlier"
        console.print(
            f"  The fault was injected at {_clock(time_of(fault))}; the spike starts {abs(off):.1f} s {side}."
        )
    if not faults:
        console.print("  No fault was injected.")


def _show_latencies(console: Console, analysis: Analysis) -> None:
    latencies = analysis.latencies
    rows = [(name, *(_duration(each[i]) for each in latencies.values())) for i, name in enumerate(("p50", "p99"))]
    header = ("", *latencies) if len(latencies) > 1 else ()
    console.print(_table(rows, header, right=range(1, len(latencies) + 1)))
    points = analysis.p99_by_second
    values = [p99 for _, p99 in points]
    if not values:
        return
    console.print(
        _heading("p99 latency of each second", f", from the histogram's buckets; up to {_duration(max(values))}")
    )
    columns = fit_columns(values, _PLOT_WIDTH)
    for row in bar_plot(columns, _PLOT_HEIGHT):
        console.print(Text(f"  {row.rstrip()}", style="red" if analysis.slow else "green"))
    first, last = _clock(points[0][0])[:8], _clock(points[-1][0])[:8]
    console.print(f"  {first}{last:>{max(9, len(columns) - len(first))}}")


def _show_slowest(console: Console, slow: Sequence[Line], example: Line) -> None:
    console.print(_heading("Slowest requests of the spike"))
    shown = slow[:_SLOWEST]
    if example not in shown:
        shown = [*slow[: _SLOWEST - 1], example]
    rows = [
        (
            _clock(time_of(line)),
            f"{line['method']} {line['route']}",
            str(line["status"]),
            _duration(line["duration_ms"] / 1000),
            f"user {line['user_id']}" if "user_id" in line else "",
            line["trace_id"],
        )
        for line in shown
    ]
    console.print(_table(rows, right=(3,)))


def _show_example(console: Console, example: Line, lines: Sequence[Line]) -> None:
    services = " from both services," if len({line["service"] for line in lines}) > 1 else ""
    console.print(_heading("Log lines of one of them", f",{services} trace id {example['trace_id']}"))
    payload = next((line["payload"] for line in lines if line.get("payload")), None)
    facts = [f"user {example['user_id']}"] if "user_id" in example else []
    facts += [f"payload {json.dumps(payload)}"] if payload else []
    if facts:
        console.print(f"  {', '.join(facts)}")
    rows = []
    for line in lines[:_MAX_LINES]:
        style = _LEVEL_STYLES.get(line["level"], "")
        fields = [f"{name}={line[name]}" for name in _LINE_FIELDS if name in line]
        message = Text(" ".join([line["message"], *fields]), style=style)
        rows.append((_clock(time_of(line), 12), line["service"], Text(line["level"], style=style), message))
    console.print(_table(rows))


def _show_causes(console: Console, explanation: Explanation) -> None:
    slow, fast = explanation.slow, explanation.fast
    console.print(_heading(f"What the {slow} slow requests have in common", f", compared with {fast} fast ones"))
    for cause in explanation.causes[:_MAX_CAUSES]:
        values = sorted((value.json or "absent" for value in cause.values), key=lambda text: (len(text), text))
        console.print(f"  {cause.field} is {_join(values)}: {cause.slow} of the slow, {cause.fast} of the fast")
    if not explanation.causes:
        console.print("  No field separates them from the fast ones.")
    if explanation.parts:
        part = explanation.parts[0]
        name = part.name.removesuffix("_ms").replace("_", " ")
        slow_time, fast_time = _duration(part.slow_ms / 1000), _duration(part.fast_ms / 1000)
        console.print(f"  Most of their time is {name}: {slow_time} on average, compared with {fast_time}")


def fit_columns(values: Sequence[float], width: int) -> list[float]:
    """Stretch values to at most two columns each, or reduce neighbours to their maximum, so that they fit `width`."""
    if len(values) > width:
        size = math.ceil(len(values) / width)
        return [max(values[start : start + size]) for start in range(0, len(values), size)]
    return [value for value in values for _ in range(min(2, width // max(1, len(values))))]


def bar_plot(values: Sequence[float], height: int) -> list[str]:
    """Return the rows of a plot from top to bottom; values above zero are at least one eighth of a row high."""
    top = max(values, default=0) or 1
    eighths = [max(1 if value else 0, round(value / top * height * 8)) for value in values]
    return ["".join(" ▁▂▃▄▅▆▇█"[min(8, max(0, each - 8 * row))] for each in eighths) for row in reversed(range(height))]


def time_of(line: Line) -> float:
    """Return the timestamp of a line in seconds since 1970."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _table(rows: Sequence[Sequence[RenderableType]], header: Sequence[str] = (), right: Collection[int] = ()) -> Table:
    table = Table(box=None, show_header=bool(header), header_style="", padding=(0, 0, 0, 2))
    for index in range(len(header) or len(rows[0])):
        title = header[index] if header else ""
        table.add_column(title, justify="right" if index in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _heading(title: str, rest: str = "") -> Text:
    return Text.assemble((title, "bold"), rest)


def _clock(seconds: float, characters: int = 10) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S.%f}"[:characters]


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _join(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
