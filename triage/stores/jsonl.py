"""Files of lines, such as a run of the demo leaves behind, or what somebody saved; DuckDB reads them."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from triage.model import Finished, Interval, Life, Run, Scrape, Searched, Sent, Traced, Window
from triage.moments import rfc3339
from triage.stores import _rows, _sql
from triage.stores._paths import files
from triage.stores._raw import RawLines
from triage.tally import Tally

_MOST_LINES = 10_000  # of one id
_SLOW_LINES = 50  # examples to choose from


class JsonlStore:
    """Lines, samples and what the load sent, from files and folders. Kinds are told apart by `event`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Look for the files that `paths` name; `StoreError` if there are none."""
        self._raw = RawLines(files(paths))

    def searched(self) -> Searched:
        """Say what there is."""
        number = len(self._raw.files)
        ((lines, usable, services, first, last),) = self._raw.ask(_sql.SEARCHED)
        span = None if first is None else Window(first, last)
        where = "1 file" if number == 1 else f"{number:,} files"
        return Searched(where, lines, lines - usable, tuple(sorted(services or ())), span)

    def trace(self, any_id: str) -> Traced:
        """Return the lines with this trace id; if there are none, those of the traces that have this request id."""
        rows = self._raw.ask(_sql.TRACE, id=any_id, needle=_needle(any_id))
        of_trace = [row for row in rows if row[1] == any_id]
        if rows and not of_trace:
            ids = sorted({row[1] for row in rows if row[1]})
            of_trace = self._raw.ask(_sql.TRACES, ids=ids)
        lines = [line for at, _, text in of_trace if (line := _rows.line(at, text)) is not None]
        trace_ids = tuple(sorted({row[1] for row in of_trace}))
        return Traced(trace_ids, tuple(lines[:_MOST_LINES]), max(0, len(lines) - _MOST_LINES))

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order; seconds without any are left out."""
        rows = self._raw.ask(_sql.RATES, service=service, needle=_needle(service), slow_ms=slow_ms)
        return [Interval(second, second + 1, *rest) for second, *rest in rows]

    def tally(self, service: str, window: Window, slow_ms: float, without: Sequence[str]) -> Tally:
        """Count the finished requests of a window by the values of every field, but those that a glob names."""
        near = {"from_text": rfc3339(window.start - 0.001), "to_text": rfc3339(window.end + 0.001)}
        who = {"service": service, "needle": _needle(service)}
        self._raw.ask(_sql.WINDOW, **who, slow_ms=slow_ms, start=window.start, end=window.end, **near)
        ((*all_counts,),) = self._raw.ask(_sql.COUNTS)
        keys = [key for (key,) in self._raw.ask(_sql.KEYS)]
        timed = [key for key in keys if key.endswith("_ms")]
        told = [key for key in keys if not any(fnmatchcase(key, pattern) for pattern in without)]
        sums = {name: (slow, fast) for name, slow, fast in self._raw.ask(_sql.SUMS, keys=timed, paths=_pointers(timed))}
        self._raw.ask(_sql.VALUES, keys=told, paths=_pointers(told))
        present, values = self._raw.ask(_sql.PRESENT), self._raw.ask(_sql.TELLING)
        slow = [_rows.line(*row) for row in self._raw.ask(_sql.SLOWEST, most=_SLOW_LINES)]
        return Tally(
            _rows.counts(all_counts), _rows.fields(present, values), sums, tuple(line for line in slow if line)
        )

    def finished(self, service: str, prefix: str = "") -> Sequence[Finished]:
        """Return the finished requests whose request id begins with `prefix`, in order."""
        who = {"service": service, "needle": _needle(service)}
        return [Finished(*row) for row in self._raw.ask(_sql.FINISHED, **who, prefix=prefix)]

    def lives(self, service: str) -> Sequence[Life]:
        """Return the lines `service.started` and `service.stopped`, in order."""
        rows = self._raw.ask(_sql.LIVES, service=service, needle=_needle(service))
        return [
            Life(at, instance, event, before, _rows.totals(_rows.decoded(text)))
            for at, instance, event, before, text in rows
        ]

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return what `http_request_duration_seconds` was at each scrape, in order."""
        return _rows.scrapes(self._raw.ask(_sql.SAMPLES, service=service, needle=_needle(service)))

    def runs(self) -> Sequence[Run]:
        """Return the runs, in the order in which they began."""
        return [Run(*row) for row in self._raw.ask(_sql.RUNS)]

    def sent(self, run: str) -> Sequence[Sent]:
        """Return the requests of a run, in order."""
        return [Sent(*row) for row in self._raw.ask(_sql.SENT, run=run)]


def _pointers(keys: Iterable[str]) -> list[str]:
    """Return JSON pointers (RFC 6901): whatever a key is, it is no path."""
    return [f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys]


def _needle(text: str) -> str:
    """Return the longest stretch that no JSON escapes: to look for it first is quick."""
    stretches: list[str] = re.findall(r"[\w.-]*", text, re.ASCII)
    return max(stretches, key=len)
