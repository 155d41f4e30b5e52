"""What the story asks, and triage answers."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple

from demo.evidence import Line, read
from triage import histograms
from triage.explain import SLOW_MS, Explanation, explain
from triage.models import LogLine, Window
from triage.stores.jsonl import JsonlStore

_SERVICE = "api"
_SLOWEST = 5
_WHICH = (0.5, 0.99)


class Answers(NamedTuple):
    """All that the story tells of a run. Latencies are p50 and p99, in seconds, from the metrics."""

    explanation: Explanation
    requests: int
    latencies: dict[str, tuple[float, ...]]
    by_second: Sequence[tuple[float, float]]
    slowest: Sequence[LogLine]
    lines: Sequence[LogLine]
    faults: Sequence[Line]


def ask(folder: Path) -> Answers:
    """Ask for all of it; `DemoError` if there is no run in `folder`."""
    faults, store = read(folder).faults, JsonlStore([folder])
    scrapes = store.scrapes(_SERVICE)
    increases = histograms.increases(scrapes)
    explanation = explain(store, store, _SERVICE)
    first, last = scrapes[0].at, scrapes[-1].at
    windows = {"": Window(first, last)}
    slowest: list[LogLine] = []
    if (window := explanation.window) is not None:
        windows = {"before": Window(first, window.start), "during": window, "after": Window(window.end, last)}
        slowest = list(store.count_fields(_SERVICE, window, SLOW_MS, ("*",)).slow_lines)
    totals = [(each.start, histograms.total(each)) for each in increases]
    return Answers(
        explanation=explanation,
        requests=round(sum(each.buckets[inf] for each in scrapes[-1].series.values())),
        latencies={name: histograms.quantiles(scrapes, each, _WHICH) for name, each in windows.items()},
        # Seconds in which nothing was finished have no latency.
        by_second=[(start, histograms.quantile(0.99, total)) for start, total in totals if any(total.values())],
        slowest=slowest[:_SLOWEST],
        lines=_telling(store, slowest),
        faults=faults,
    )


def _telling(store: JsonlStore, slowest: Sequence[LogLine]) -> list[LogLine]:
    """Return the lines of the slowest request that went through both services; of the slowest, if none did."""
    through_both = [line for line in slowest if "upstream_calls" in line.fields]
    for asked in (through_both or slowest)[:1]:
        traced = store.trace(str(asked.fields["trace_id"])).lines
        logged = [line for line in traced if "level" in line.fields]  # what the load sent is no line of a log
        # The first says what was asked; of the rest, debugging is for those who look closer.
        return [line for line in logged if line is logged[0] or line.fields["level"] != "debug"]
    return []
