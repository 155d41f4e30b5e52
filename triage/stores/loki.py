"""Lines in Loki. What has to be reckoned from very many of them is fetched, and reckoned by DuckDB as that of files."""

import re
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from operator import attrgetter
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from triage.model import Finished, Interval, Life, Searched, Traced, Window
from triage.stores import StoreError, _logql, _rows
from triage.stores._http import Server
from triage.stores._promql import quoted
from triage.tally import Tally

if TYPE_CHECKING:
    from triage.stores.jsonl import JsonlStore

_MOST_LINES = 10_000  # of one id
_NEAR = 900.0  # seconds around an id's own time, and from the newest of its lines to what is not looked at any more
_CLOCKS = 60.0  # seconds that clocks may differ
_BACK = (900.0, 7_200.0, 86_400.0, 7 * 86_400.0, 28 * 86_400.0)  # how far is looked back for an id that tells no time
_VERSION_7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", re.ASCII)
_RUN = re.compile(r"(\d{8}T\d{6})[0-9a-f]{2}-\d+-\d+", re.ASCII)
_ALL = '{service_name=~".+"}'


class LokiStore:
    """The lines that Loki has of a window; ids are looked for from its end back, wherever they may be."""

    def __init__(self, server: Server, window: Window) -> None:
        """Ask `server`."""
        self._server, self._window = server, window
        self._folder: Path | None = None
        self._fetched: dict[tuple[str, Window], JsonlStore] = {}

    def searched(self) -> Searched:
        """Say what there is."""
        start, end = (f"{round(at * 1e9)}" for at in self._window)
        names = self._server.json("/loki/api/v1/label/service_name/values", start=start, end=end)
        stats = self._server.json("/loki/api/v1/index/stats", query=_ALL, start=start, end=end)
        with self._server.understood():
            services, lines = tuple(sorted(names.get("data") or ())), int(stats["entries"])
        return Searched(f"Loki at {self._server.url}", lines, 0, services, self._window)

    def trace(self, any_id: str) -> Traced:
        """Return the lines with this trace id; if there are none, those of the traces that have this request id."""
        if not _logql.is_id(any_id):
            return Traced((), ())
        for window in _windows(any_id, self._window.end):
            if ids := self._ids(any_id, window):
                return self._lines(ids, window)
        return Traced((), ())

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order; seconds without any are left out."""
        return self._finished(service, self._window).rates(service, slow_ms)

    def tally(self, service: str, window: Window, slow_ms: float, without: Sequence[str]) -> Tally:
        """Count the finished requests of a window by the values of every field, but those that a glob names."""
        start, end = self._window
        both = Window(max(window.start, start), min(window.end, end))
        return self._finished(service, both).tally(service, both, slow_ms, without)

    def finished(self, service: str, prefix: str = "") -> Sequence[Finished]:
        """Return the finished requests whose request id begins with `prefix`, in order."""
        return self._finished(service, self._window).finished(service, prefix)

    def lives(self, service: str) -> Sequence[Life]:
        """Return the lines `service.started` and `service.stopped`, in order."""
        query = f"{{service_name={quoted(service)}}} |~ `service.(started|stopped)`"
        found = _logql.every(self._server, query, self._window)
        events = {"service.started", "service.stopped"}
        return [self._life(service, *line) for line in found if line.fields.get("event") in events]

    def _life(self, service: str, at: float, fields: Mapping[str, object]) -> Life:
        instance = str(fields.get("instance", ""))
        of_requests = f'{{service_name={quoted(service)}, instance={quoted(instance)}}} | trace_id!="-"'
        before = _logql.lines(self._server, of_requests, Window(self._window.start, at), most=1)
        totals = _rows.totals(fields.get("totals"))
        return Life(at, instance, str(fields["event"]), before[-1].at if before else None, totals)

    def _ids(self, any_id: str, window: Window) -> Sequence[str]:
        """Return the traces that an id names, as far as a window tells."""
        if _logql.lines(self._server, f"{_ALL} | trace_id={quoted(any_id)}", window, most=1):
            return [any_id]
        found = islice(_logql.every(self._server, f"{_ALL} |= {quoted(any_id)}", window), _MOST_LINES)
        ids = {str(line.fields.get("trace_id")) for line in found if line.fields.get("request_id") == any_id}
        return sorted(trace_id for trace_id in ids if _logql.is_id(trace_id))

    def _lines(self, trace_ids: Sequence[str], window: Window) -> Traced:
        """Return the lines of traces, also those that are just outside of the window in which one was found."""
        wide = Window(window.start - _NEAR, window.end + _NEAR)
        queries = [f"{_ALL} | trace_id={quoted(trace_id)}" for trace_id in trace_ids]
        found = chain.from_iterable(_logql.every(self._server, query, wide) for query in queries)
        lines = sorted(found, key=attrgetter("at"))
        return Traced(tuple(trace_ids), tuple(lines[:_MOST_LINES]), max(0, len(lines) - _MOST_LINES))

    def _finished(self, service: str, window: Window) -> "JsonlStore":
        """Fetch the finished requests of a service, once."""
        # Here, because `trace` needs no DuckDB, which the image of the stack does not have.
        from triage.stores.jsonl import JsonlStore  # noqa: PLC0415

        key = service, window
        if key not in self._fetched:
            query = f"{{service_name={quoted(service)}}} |= `request.finished`"
            path = self._room() / f"{len(self._fetched)}.jsonl"
            self._save(path, query, window)
            self._fetched[key] = JsonlStore([path])
        return self._fetched[key]

    def _room(self) -> Path:
        """Return a folder that goes with this store."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="triage-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _save(self, path: Path, query: str, window: Window) -> None:
        try:
            with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
                file.writelines(f"{text}\n" for _, text in _logql.pages(self._server, query, window))
        except OSError as exc:
            msg = f"The lines that Loki has do not fit into {path.parent}: {exc.strerror}; set TMPDIR."
            raise StoreError(msg) from None


def _windows(any_id: str, now: float) -> Iterator[Window]:
    """Yield where to look for an id: around the time that it tells, then further and further back."""
    if (told := _time_of(any_id)) is not None and told < now + _CLOCKS:
        yield Window(told - _CLOCKS, told + _NEAR)
    yield Window(now - _BACK[0], now + _CLOCKS)
    yield from (Window(now - far, now - near) for near, far in pairwise(_BACK))


def _time_of(any_id: str) -> float | None:
    """Return when a request was made: UUIDv7 begins with milliseconds, and an id of the load with the run's start."""
    if _VERSION_7.fullmatch(any_id):
        return int(any_id[:12], 16) / 1000
    if run := _RUN.fullmatch(any_id):
        try:
            return datetime.strptime(run[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return None
    return None
