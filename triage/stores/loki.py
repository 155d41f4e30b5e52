"""Log lines in Loki. For statistics, the finished requests are downloaded and analysed by DuckDB, like files."""

import json
import re
import shutil
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

from triage.console import to_json
from triage.errors import StoreError
from triage.ids import is_id
from triage.models import (
    Exemplar,
    FieldCounts,
    FinishedRequest,
    Interval,
    LogLine,
    ProcessEvent,
    StoreSummary,
    TraceLines,
    Window,
    parse_totals,
)
from triage.stores.client import HttpClient, ResponseError
from triage.stores.prometheus import quote
from triage.timestamps import rfc3339

if TYPE_CHECKING:
    from triage.stores.jsonl import JsonlStore

_MAX_LINES = 10_000  # of one trace
_PAGE = 5_000  # lines per response; also Loki's own limit
_SMALL_PAGE = 250  # at most 2 MB
_NS = 10**9
_MIN_SLICE, _MAX_SLICE = 60 * _NS, 6 * 3600 * _NS
_MARGIN = 900.0  # seconds searched around the time in an id, and around lines that were found
_CLOCK_SKEW = 60.0  # seconds
_LOOK_BACK = (900.0, 7_200.0, 86_400.0, 7 * 86_400.0, 28 * 86_400.0)  # seconds, for an id that contains no time
_UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", re.ASCII)
_RUN_REQUEST = re.compile(r"(\d{8}T\d{6})[0-9a-f]{2}-\d+-\d+", re.ASCII)
_ALL = '{service_name=~".+"}'


LineCounts = Mapping[tuple[str, ...], Mapping[float, int]]


class NewLine(NamedTuple):
    """A line to push to Loki; `fields` are those that not every line has."""

    at: float
    level: str
    message: str
    trace_id: str
    fields: Mapping[str, object]


class LokiStore:
    """The lines of a window in Loki. Ids are searched from the end of the window backwards, beyond its start."""

    def __init__(self, client: HttpClient, window: Window) -> None:
        """Query `client`."""
        self._client, self._window = client, window
        self._folder: Path | None = None
        self._downloads: dict[tuple[str, Window], JsonlStore] = {}

    def summary(self) -> StoreSummary:
        """Return what the store contains, for error messages."""
        start, end = (f"{round(at * _NS)}" for at in self._window)
        names = self._client.json("/loki/api/v1/label/service_name/values", start=start, end=end)
        stats = self._client.json("/loki/api/v1/index/stats", query=_ALL, start=start, end=end)
        with self._client.parsing():
            services, lines = tuple(sorted(names.get("data") or ())), int(stats["entries"])
        return StoreSummary(f"Loki at {self._client.url}", lines, 0, services, self._window)

    def trace(self, any_id: str) -> TraceLines:
        """Return the lines with this trace id or, if there are none, of all traces with this request id."""
        if not is_id(any_id):
            return TraceLines((), ())
        for window in _search_windows(any_id, self._window.end):
            if ids := self._trace_ids(any_id, window):
                return self._trace_lines(ids, window)
        return TraceLines((), ())

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order, without empty seconds."""
        return self._download(service, self._window).rates(service, slow_ms)

    def count_fields(self, service: str, window: Window, slow_ms: float, exclude: Sequence[str]) -> FieldCounts:
        """Count the finished requests of a window by field and value; `exclude` are globs of field names."""
        start, end = self._window
        overlap = Window(max(window.start, start), min(window.end, end))
        return self._download(service, overlap).count_fields(service, overlap, slow_ms, exclude)

    def finished(self, service: str, prefix: str = "") -> Sequence[FinishedRequest]:
        """Return the finished requests whose request id starts with `prefix`, in order."""
        return self._download(service, self._window).finished(service, prefix)

    def process_events(self, service: str) -> Sequence[ProcessEvent]:
        """Return the starts and stops of the service's processes, in order."""
        expr = f"{{service_name={quote(service)}}} |~ `service.(started|stopped)`"
        events = {"service.started", "service.stopped"}
        lines = _all_lines(self._client, expr, self._window)
        return [self._process_event(service, *line) for line in lines if line.fields.get("event") in events]

    def _process_event(self, service: str, at: float, fields: Mapping[str, object]) -> ProcessEvent:
        instance = str(fields.get("instance", ""))
        requests = f'{{service_name={quote(service)}}} | instance={quote(instance)} | trace_id!="-"'
        last = query_lines(self._client, requests, Window(self._window.start, at), limit=1)
        totals = parse_totals(fields.get("totals"))
        return ProcessEvent(at, instance, str(fields["event"]), last[-1].at if last else None, totals)

    def _trace_ids(self, any_id: str, window: Window) -> Sequence[str]:
        """Return the traces with this trace id or request id in a window."""
        if query_lines(self._client, f"{_ALL} | trace_id={quote(any_id)}", window, limit=1):
            return [any_id]
        lines = islice(_all_lines(self._client, f"{_ALL} |= {quote(any_id)}", window), _MAX_LINES)
        ids = {str(line.fields.get("trace_id")) for line in lines if line.fields.get("request_id") == any_id}
        return sorted(trace_id for trace_id in ids if is_id(trace_id))

    def _trace_lines(self, trace_ids: Sequence[str], window: Window) -> TraceLines:
        """Return the lines of traces, including those just outside the window."""
        wide = window.expand(_MARGIN)
        exprs = [f"{_ALL} | trace_id={quote(trace_id)}" for trace_id in trace_ids]
        found = merge(*(_all_lines(self._client, expr, wide) for expr in exprs), key=attrgetter("at"))
        lines = tuple(islice(found, _MAX_LINES))
        return TraceLines(tuple(trace_ids), lines, sum(1 for _ in found))

    def _download(self, service: str, window: Window) -> "JsonlStore":
        """Download the finished requests of a service, once, and return them as a store."""
        # `trace` and `tour` do not need DuckDB, which the image of the stack does not contain.
        from triage.stores.jsonl import JsonlStore  # noqa: PLC0415

        key = service, window
        if key not in self._downloads:
            if self._folder is None:
                self._folder = Path(mkdtemp(prefix="triage-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            path = self._folder / f"{len(self._downloads)}.jsonl"
            expr = f"{{service_name={quote(service)}}} |= `request.finished`"
            try:
                with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
                    file.writelines(f"{text}\n" for _, text in _entries(self._client, expr, window))
            except OSError as exc:
                msg = f"Cannot write the lines from Loki to {path.parent}: {exc.strerror}; set TMPDIR to another folder"
                raise StoreError(msg) from None
            self._downloads[key] = JsonlStore([path])
        return self._downloads[key]


def _search_windows(any_id: str, now: float) -> Iterator[Window]:
    """Yield where to search an id: around the time that it contains, then further and further back."""
    if (time := _time_in(any_id)) is not None and time < now + _CLOCK_SKEW:
        yield Window(time - _CLOCK_SKEW, time + _MARGIN)
    yield Window(now - _LOOK_BACK[0], now + _CLOCK_SKEW)
    yield from (Window(now - far, now - near) for near, far in pairwise(_LOOK_BACK))


def _time_in(any_id: str) -> float | None:
    """Return the time in an id: UUIDv7 starts with milliseconds, a request id of the load with the run's start."""
    if _UUID7.fullmatch(any_id):
        return int(any_id[:12], 16) / 1000
    if run := _RUN_REQUEST.fullmatch(any_id):
        try:
            return datetime.strptime(run[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return None
    return None


def lines_of_request(client: HttpClient, request: Exemplar) -> Sequence[LogLine]:
    """Return the lines of a request's trace from all services, in the minute around it."""
    window = Window(request.arrived, request.at).expand(60)
    return query_lines(client, f"{_ALL} | trace_id={quote(request.trace_id)}", window)


def query_lines(client: HttpClient, expr: str, window: Window, limit: int = _PAGE) -> Sequence[LogLine]:
    """Return the last lines of a query in order; lines that are not JSON objects are skipped."""
    start, end = (f"{round(seconds * _NS)}" for seconds in window)
    response = client.json(
        "/loki/api/v1/query_range", query=expr, start=start, end=end, limit=limit, direction="backward"
    )
    with client.parsing():
        entries = [entry for stream in response["data"]["result"] for entry in stream["values"]]
        texts = sorted((int(entry[0]), str(entry[1])) for entry in entries)
    return [LogLine(at / _NS, fields) for at, text in texts if (fields := _fields(text)) is not None]


def sample_lines(client: HttpClient, expr: str, window: Window, number: int, limit: int) -> Iterator[LogLine]:
    """Yield the lines of a query or, if their `number` exceeds `limit`, that many of them, spread over the window.

    Pages are small, so that little memory is needed.
    """
    if number <= limit:
        yield from islice(_all_lines(client, expr, window, _SMALL_PAGE), limit)
        return
    parts = max(1, limit // _SMALL_PAGE)
    length = (window.end - window.start) / parts
    for part in range(parts):
        start = window.start + part * length
        yield from query_lines(client, expr, Window(start, start + length), limit // parts)


def count_lines(client: HttpClient, expr: str, labels: Sequence[str], window: Window, step: int) -> LineCounts:
    """Return how many lines of a query there are in each `step` seconds, by the values of `labels`.

    The times are the ends of the steps; the window should start and end at a multiple of `step`.
    """
    counted = f"sum by ({', '.join(labels)}) (count_over_time({expr} [{step}s]))"
    response = client.json(
        "/loki/api/v1/query_range", query=counted, start=f"{window.start:.0f}", end=f"{window.end:.0f}", step=step
    )
    with client.parsing():
        return {
            tuple(str(each["metric"].get(label, "")) for label in labels): {
                float(at): int(value) for at, value in each["values"]
            }
            for each in response["data"]["result"]
        }


def push_lines(client: HttpClient, service: str, instance: str, lines: Iterable[NewLine]) -> None:
    """Push lines of a service to Loki, as Alloy does; raise `StoreError` if Loki does not accept them.

    It may be repeated: Loki drops lines that it already has.
    """
    streams: dict[str, list[tuple[str, str, Mapping[str, str]]]] = defaultdict(list)
    for each in sorted(lines, key=lambda each: each.at):
        ids = {"service": service, "instance": instance, "logger": "triage", "trace_id": each.trace_id, "span_id": "-"}
        fields = {"timestamp": rfc3339(each.at), "level": each.level, **ids, "message": each.message, **each.fields}
        metadata = {"trace_id": each.trace_id, "instance": instance}
        streams[each.level].append((f"{round(each.at * 1e6)}000", to_json(fields, indent=None), metadata))
    body = [
        {"stream": {"service_name": service, "level": level}, "values": values} for level, values in streams.items()
    ]
    client.post("/loki/api/v1/push", {"streams": body})


def _all_lines(client: HttpClient, expr: str, window: Window, page: int = _PAGE) -> Iterator[LogLine]:
    """Yield all lines of a query in order; lines that are not JSON objects are skipped."""
    for at, text in _entries(client, expr, window, page):
        if (fields := _fields(text)) is not None:
            yield LogLine(at, fields)


def _entries(client: HttpClient, expr: str, window: Window, size: int = _PAGE) -> Iterator[tuple[float, str]]:
    """Yield the time and text of all lines of a query, in order, in pages of `size` lines."""
    begin, end = round(window.start * _NS), round(window.end * _NS) + 1
    length = _MIN_SLICE
    while begin < end:
        # Loki rejects queries that search too much, so they are sliced by time; slices grow where there is little.
        until = min(begin + length, end)
        page = _page(client, expr, begin, until, size)
        length = min(2 * length, _MAX_SLICE) if len(page) < size // 4 else _MIN_SLICE
        if len(page) < size:
            complete, begin = page, until
        elif page[0][0] == page[-1][0]:
            complete, begin = page, page[-1][0] + 1
        else:  # lines of the last moment may be missing, so it is queried again
            last = page[-1][0]
            complete, begin = [entry for entry in page if entry[0] < last], last
        yield from ((at / _NS, text) for at, text in complete)


def _page(client: HttpClient, expr: str, begin: int, end: int, size: int) -> Sequence[tuple[int, str]]:
    response = client.json(
        "/loki/api/v1/query_range", query=expr, start=f"{begin}", end=f"{end}", limit=size, direction="forward"
    )
    with client.parsing():
        page = sorted((int(at), str(text)) for each in response["data"]["result"] for at, text, *_ in each["values"])
    if page and not begin <= page[0][0] <= page[-1][0] < end:
        msg = f"{client.name} at {client.url} returned lines of another time than the one it was asked for"
        raise ResponseError(msg)
    return page


def _fields(text: str) -> dict[str, object] | None:
    try:
        decoded = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None
