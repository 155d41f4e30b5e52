"""What a service counted against what it logged."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from triage.gaps import Process
from triage.model import Finished, Scrape

#: Lines this close to the first or last scrape, in seconds, may have been counted before it or after it.
_EDGE = 0.25

Key = tuple[str, str]  # route and status; a metric's method may be OTHER where the line's is not


class CountedRow(NamedTuple):
    """The requests of a route and status: `logged` for certain while it was counted, and `edge` perhaps."""

    route: str
    status: str
    counted: int
    logged: int
    edge: int


class Miscount(NamedTuple):
    """A route and status of one instance that are not equal, since when, and the ids that it may be about."""

    instance: str
    row: CountedRow
    start: float
    end: float
    ids: tuple[str, ...]


class Counted(NamedTuple):
    """The second equality, over the time that each process was scraped. What was logged beside it is `uncounted`."""

    rows: tuple[CountedRow, ...]
    differences: tuple[Miscount, ...]
    unscraped: tuple[str, ...]
    uncounted: int


def compare(found: Sequence[Process], finished: Iterable[Finished]) -> Counted:
    """Hold each process's counters against its lines."""
    lines: dict[str, list[Finished]] = defaultdict(list)
    for line in finished:
        lines[line.instance].append(line)
    rows: dict[Key, CountedRow] = {}
    differences: list[Miscount] = []
    compared = 0
    for process in found:
        for row, theirs in _rows(process, lines[process.instance]):
            key = row.route, row.status
            before = rows.get(key, CountedRow(*key, 0, 0, 0))
            rows[key] = CountedRow(*key, *(a + b for a, b in zip(before[2:], row[2:], strict=True)))
            compared += len(theirs)
            if not row.logged <= row.counted <= row.logged + row.edge:
                differences.append(_miscount(process, row, theirs))
    unscraped = sorted(set(lines) - {process.instance for process in found})
    total = sum(len(each) for each in lines.values())
    return Counted(tuple(rows[key] for key in sorted(rows)), tuple(differences), tuple(unscraped), total - compared)


def counts(scrape: Scrape) -> Counter[Key]:
    """Return how many requests an instance had observed, by route and status."""
    found: Counter[Key] = Counter()
    for series, histogram in scrape.series.items():
        found[series.route, series.status] += round(histogram.observed)
    return found


def _rows(process: Process, lines: Sequence[Finished]) -> Iterable[tuple[CountedRow, list[Finished]]]:
    start, end = _span(process)
    increase = _last(process)
    increase.subtract(_base(process))
    theirs: dict[Key, list[Finished]] = defaultdict(list)
    for line in lines:
        if start - _before(process) < line.at <= end + _after(process):
            theirs[line.route, line.status].append(line)
    for key in sorted({*increase, *theirs}):
        edge = sum(1 for line in theirs[key] if line.at > end - _after(process) or line.at <= start + _before(process))
        yield CountedRow(*key, increase[key], len(theirs[key]) - edge, edge), theirs[key]


def _span(process: Process) -> tuple[float, float]:
    start = process.scrapes[0].at if process.began is None else process.began
    return start, process.scrapes[-1].at if process.ended is None else process.ended.at


def _last(process: Process) -> Counter[Key]:
    """Return what a process had counted at its end: what it said last, or what was scraped last."""
    if process.ended is not None and process.ended.totals is not None:
        return Counter(process.ended.totals)
    return counts(process.scrapes[-1])


def _base(process: Process) -> Mapping[Key, int]:
    return counts(process.scrapes[0]) if process.began is None else Counter()


def _before(process: Process) -> float:
    """Return how unsure the beginning is: not at all where the process says when it was at zero."""
    return _EDGE if process.began is None else 0.0


def _after(process: Process) -> float:
    """Return how unsure the end is: not at all where the process says what it had counted."""
    return _EDGE if process.ended is None else 0.0


def _miscount(process: Process, row: CountedRow, lines: Sequence[Finished]) -> Miscount:
    """Look for the scrape from which on it does not fit, and for the ids since the one before."""
    key = row.route, row.status
    base, moments = _base(process).get(key, 0), [line.at for line in lines]
    missing = row.counted > row.logged + row.edge
    start, end = _span(process)
    for scrape in reversed(process.scrapes[process.began is None :]):
        more = counts(scrape)[key] - base - bisect_right(moments, scrape.at)
        if (more <= 0) if missing else (more >= 0):
            start = scrape.at
            break
        end = scrape.at
    if missing:
        logged = {line.trace_id for line in lines}
        named = [trace_id for trace_id in _exemplars(process, key) if trace_id not in logged]
    else:
        near = lines[bisect_right(moments, start - _EDGE) : bisect_right(moments, end + _EDGE)]
        named = [line.trace_id for line in near]
    return Miscount(process.instance, row, start, end, tuple(dict.fromkeys(named)))


def _exemplars(process: Process, key: Key) -> Iterable[str]:
    """Yield the ids that the counters themselves name."""
    for scrape in process.scrapes[process.began is None :]:
        for series, histogram in scrape.series.items():
            if (series.route, series.status) == key:
                yield from (exemplar.trace_id for exemplar in histogram.exemplars.values())
