"""Comparison of a service's request counters with its log lines, for each of its processes."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from triage import histograms
from triage.models import FinishedRequest, ProcessEvent, Scrape

_EDGE = 0.25  # seconds around the first and last scrape in which a line may have been counted before or after it
_STARTED, _STOPPED = "service.started", "service.stopped"

Key = tuple[str, str]  # route and status; a metric's method may be OTHER where the line's is not


class Gap(NamedTuple):
    """The time from the last trace of a killed process to the start of the next; its unwritten lines are lost."""

    instance: str
    start: float
    end: float


class Process(NamedTuple):
    """The scrapes of one process.

    `began` is when its counters were zero, if known. `stopped` is its `service.stopped` line, if that has totals.
    """

    instance: str
    began: float | None
    scrapes: Sequence[Scrape]
    stopped: ProcessEvent | None = None

    @property
    def start(self) -> float:
        """The start of the comparison."""
        return self.scrapes[0].at if self.began is None else self.began

    @property
    def end(self) -> float:
        """The end of the comparison."""
        return self.scrapes[-1].at if self.stopped is None else self.stopped.at

    @property
    def start_edge(self) -> float:
        """How uncertain the start is, in seconds: not at all if the process logged it."""
        return _EDGE if self.began is None else 0.0

    @property
    def end_edge(self) -> float:
        """How uncertain the end is, in seconds: not at all if the process logged its totals."""
        return _EDGE if self.stopped is None else 0.0

    @property
    def initial(self) -> Mapping[Key, int]:
        """The counters at the start."""
        return _counters(self.scrapes[0]) if self.began is None else Counter()

    @property
    def final(self) -> Counter[Key]:
        """The counters at the end."""
        if self.stopped is not None and self.stopped.totals is not None:
            return Counter(self.stopped.totals)
        return _counters(self.scrapes[-1])

    @property
    def later_scrapes(self) -> Sequence[Scrape]:
        """The scrapes after the start."""
        return self.scrapes[self.began is None :]


class CountedRow(NamedTuple):
    """Requests of a route and status; `edge` lines are close to the first or last scrape, and may not be counted."""

    route: str
    status: str
    counted: int
    logged: int
    edge: int


class Miscount(NamedTuple):
    """A difference between counters and lines of an instance, when it appeared, and the trace ids it may be about."""

    instance: str
    row: CountedRow
    start: float
    end: float
    ids: tuple[str, ...]


class CounterComparison(NamedTuple):
    """The comparison over the times in which processes were scraped; `uncounted` lines are outside of them."""

    rows: tuple[CountedRow, ...]
    differences: tuple[Miscount, ...]
    unscraped: tuple[str, ...]
    uncounted: int


def find_processes(scrapes: Iterable[Scrape], events: Sequence[ProcessEvent]) -> list[Process]:
    """Split the scrapes of each instance wherever a new process started, with its counters at zero."""
    found: list[Process] = []
    by_instance = groupby(sorted(scrapes, key=lambda each: (each.instance, each.at)), lambda each: each.instance)
    for instance, of_instance in by_instance:
        its_events = sorted(event for event in events if event.instance == instance)
        starts = [event.at for event in its_events if event.event == _STARTED]
        since = float("-inf")
        current: list[Scrape] = []
        for scrape in of_instance:
            if current and (histograms.is_reset(current[-1], scrape) or _any_within(starts, current[-1].at, scrape.at)):
                found.append(_process(current, its_events, since))
                since, current = current[-1].at, []
            current.append(scrape)
        found.append(_process(current, its_events, since))
    return found


def _process(scrapes: Sequence[Scrape], events: Sequence[ProcessEvent], since: float) -> Process:
    starts = [event.at for event in events if event.event == _STARTED and since < event.at <= scrapes[0].at]
    following = next((event for event in events if event.at >= scrapes[-1].at), None)
    has_totals = following is not None and following.event == _STOPPED and following.totals is not None
    return Process(scrapes[0].instance, max(starts, default=None), scrapes, following if has_totals else None)


def find_gaps(processes: Sequence[Process], events: Sequence[ProcessEvent]) -> list[Gap]:
    """Return when processes were killed, as far as log lines or counters show it."""
    return sorted({*_starts_without_stop(events), *_resets_without_start(processes, events)}, key=lambda gap: gap.start)


def _starts_without_stop(events: Sequence[ProcessEvent]) -> Iterable[Gap]:
    for _, of_instance in groupby(
        sorted(events, key=lambda each: (each.instance, each.at)), lambda each: each.instance
    ):
        last: ProcessEvent | None = None
        for event in of_instance:
            seen = [at for at in (last and last.at, event.last_request_at) if at is not None]
            if event.event == _STARTED and seen and (last is None or last.event == _STARTED):
                yield Gap(event.instance, max(seen), event.at)
            last = event


def _resets_without_start(processes: Sequence[Process], events: Sequence[ProcessEvent]) -> Iterable[Gap]:
    for before, now in pairwise(processes):
        start, end = before.scrapes[-1].at, now.scrapes[0].at
        times = [event.at for event in events if event.instance == now.instance]
        if before.instance == now.instance and not _any_within(times, start, end):
            yield Gap(now.instance, start, end)


def _any_within(times: Iterable[float], start: float, end: float) -> bool:
    return any(start < time <= end for time in times)


def compare_counters(processes: Sequence[Process], finished: Iterable[FinishedRequest]) -> CounterComparison:
    """Compare the counters of each process with its `request.finished` lines."""
    lines: dict[str, list[FinishedRequest]] = defaultdict(list)
    for line in finished:
        lines[line.instance].append(line)
    rows: dict[Key, CountedRow] = {}
    differences: list[Miscount] = []
    compared = 0
    for process in processes:
        for row, of_row in _rows(process, lines[process.instance]):
            key = row.route, row.status
            before = rows.get(key, CountedRow(*key, 0, 0, 0))
            rows[key] = CountedRow(*key, *(a + b for a, b in zip(before[2:], row[2:], strict=True)))
            compared += len(of_row)
            if not row.logged <= row.counted <= row.logged + row.edge:
                differences.append(_miscount(process, row, of_row))
    unscraped = sorted(set(lines) - {process.instance for process in processes})
    uncounted = sum(len(each) for each in lines.values()) - compared
    return CounterComparison(tuple(rows[key] for key in sorted(rows)), tuple(differences), tuple(unscraped), uncounted)


def _counters(scrape: Scrape) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for series, histogram in scrape.series.items():
        found[series.route, series.status] += round(histogram.total)
    return found


def _rows(process: Process, lines: Sequence[FinishedRequest]) -> Iterable[tuple[CountedRow, list[FinishedRequest]]]:
    start, end = process.start, process.end
    increase = process.final
    increase.subtract(process.initial)
    by_key: dict[Key, list[FinishedRequest]] = defaultdict(list)
    for line in lines:
        if start - process.start_edge < line.at <= end + process.end_edge:
            by_key[line.route, line.status].append(line)
    for key in sorted({*increase, *by_key}):
        edge = sum(line.at > end - process.end_edge or line.at <= start + process.start_edge for line in by_key[key])
        yield CountedRow(*key, increase[key], len(by_key[key]) - edge, edge), by_key[key]


def _miscount(process: Process, row: CountedRow, lines: Sequence[FinishedRequest]) -> Miscount:
    """Find the scrapes between which the difference appeared, and the trace ids from that time."""
    key = row.route, row.status
    initial, times = process.initial.get(key, 0), [line.at for line in lines]
    missing = row.counted > row.logged + row.edge
    start, end = process.start, process.end
    for scrape in reversed(process.later_scrapes):
        excess = _counters(scrape)[key] - initial - bisect_right(times, scrape.at)
        if (excess <= 0) if missing else (excess >= 0):
            start = scrape.at
            break
        end = scrape.at
    if missing:
        logged = {line.trace_id for line in lines}
        ids = [trace_id for trace_id in _exemplar_ids(process, key) if trace_id not in logged]
    else:
        near = lines[bisect_right(times, start - _EDGE) : bisect_right(times, end + _EDGE)]
        ids = [line.trace_id for line in near]
    return Miscount(process.instance, row, start, end, tuple(dict.fromkeys(ids)))


def _exemplar_ids(process: Process, key: Key) -> Iterable[str]:
    for scrape in process.later_scrapes:
        for series, histogram in scrape.series.items():
            if (series.route, series.status) == key:
                yield from (exemplar.trace_id for exemplar in histogram.exemplars.values())
