"""Files of JSON lines, such as the demo leaves behind or `docker compose logs` prints, read with DuckDB.

A million lines take a few seconds: each query first searches the raw lines for a word and parses only those that
contain it. Lines that are not JSON, or not log lines, are skipped and counted.
"""

import glob
import gzip
import json
import os
import re
import shutil
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import duckdb

from triage.errors import StoreError
from triage.models import (
    Counts,
    Exemplar,
    Field,
    FieldCounts,
    FieldValue,
    FinishedRequest,
    Histogram,
    Interval,
    LogLine,
    ProcessEvent,
    Run,
    Scrape,
    SentRequest,
    Series,
    StoreSummary,
    TraceLines,
    Window,
    parse_totals,
)
from triage.timestamps import rfc3339

Row = tuple[Any, ...]

_SUFFIXES = (".jsonl", ".jsonl.gz", ".log")
_MAX_LINES = 10_000  # of one trace
_MAX_SLOW_LINES = 50
_MAX_FIELDS = 1_000  # of one window, in case ids are used as field names
_MAX_LINE_BYTES = 2 * 1024 * 1024
_BUFFER_BYTES = 4 * _MAX_LINE_BYTES  # of each thread; DuckDB's default is 32 MB
_MEMORY_LIMIT = "128MB"  # of DuckDB; Python and its libraries need about 100 MB more
_MAX_DISK = "2GB"  # of temporary files
_CHUNK = 1024 * 1024
_MAX_THREADS = 4  # each needs a buffer

# DuckDB's CSV reader is the fastest way to raw lines: one column, because no line contains the delimiter.
_CSV = f"""SELECT line FROM read_csv($files, columns={{'line': 'VARCHAR'}}, delim='\\x01', quote='', escape='',
    comment='', header=false, auto_detect=false, strict_mode=false, null_padding=true, ignore_errors=true,
    max_line_size={_MAX_LINE_BYTES}, buffer_size={_BUFFER_BYTES}, compression='auto_detect')
    UNION ALL SELECT line FROM recovered"""

# A saved terminal has escape codes, and `docker compose logs` and `kubectl logs` put the name of the process, and
# optionally the time, before each line.
_ESCAPE_CODES = r"\x1b\[[0-9;?]*[A-Za-z]"
_PREFIXED = r"^\s*(?:[\w.-]+ *\| |\[[\w./-]+\] )?(?:[\dT:.+-]+Z? )?(\{.*\})\s*$"
_LINES = f"""SELECT CASE WHEN starts_with(line, '{{') THEN line
    ELSE coalesce(nullif(regexp_extract(regexp_replace(line, '{_ESCAPE_CODES}', '', 'g'), '{_PREFIXED}', 1), ''), line)
    END AS line FROM ({{source}})"""

#: The JSON paths that every query extracts first.
PATHS = "$.timestamp $.service $.instance $.event"


def select_lines(paths: str, where: str) -> str:
    """Return a query for the lines that match `where`, with a list `v` of the texts at `paths` and a `moment`."""
    listed = ", ".join(f"'{path}'" for path in paths.split())
    # Without MATERIALIZED, DuckDB would parse the line again for every use of `v`.
    return f"""WITH parsed AS MATERIALIZED (
        SELECT line, TRY(json_extract_string(line, [{listed}])) AS v
        FROM {{lines}} WHERE {where})
        SELECT line, v, epoch(try_cast(v[1] AS TIMESTAMP)) AS moment FROM parsed
        WHERE isfinite(try_cast(v[1] AS TIMESTAMP))"""  # 'infinity' is a timestamp for DuckDB


def containing(word: str) -> str:
    """Return the condition that a raw line contains a word."""
    return f"contains(line, '{word}')"


_FINISHED = containing("request.finished") + " AND contains(line, $word)"

_SUMMARY = """
WITH texts AS MATERIALIZED (
    SELECT TRY(json_extract_string(line, ['$.timestamp', '$.service'])) AS v FROM {lines}),
lines AS (SELECT epoch(try_cast(v[1] AS TIMESTAMP)) AS moment, v[2] AS service FROM texts)
SELECT count(*), count(moment), list(DISTINCT service) FILTER (moment IS NOT NULL), min(moment), max(moment)
FROM (SELECT service, CASE WHEN service IS NOT NULL THEN moment END AS moment FROM lines)
"""

_ANY_ID = f"""
SELECT moment, v[3], line
FROM ({select_lines("$.timestamp $.service $.trace_id $.request_id", "contains(line, $word)")})
WHERE v[2] IS NOT NULL AND (v[3] = $id OR v[4] = $id) ORDER BY moment, line
"""

_TRACES = f"""
SELECT moment, v[3], line FROM (
    {select_lines("$.timestamp $.service $.trace_id", "list_bool_or([contains(line, id) FOR id IN $ids])")})
WHERE v[2] IS NOT NULL AND list_contains($ids, v[3]) ORDER BY moment, line
"""

# Lines of our formatter start with the timestamp, so most lines outside of a window need not be parsed.
_NEAR = """ AND (NOT starts_with(line, '{"timestamp":"') OR substr(line, 42, 1) <> '"'
    OR substr(line, 15, 27) BETWEEN $from_text AND $to_text)"""


def _finished_of_service(where: str = "") -> str:
    return f"""
SELECT line, moment, v[3] AS instance, try_cast(v[5] AS DOUBLE) AS duration_ms, v
FROM ({select_lines(PATHS + " $.duration_ms $.span_id", _FINISHED + where)})
WHERE v[2] = $service AND v[4] = 'request.finished' AND isfinite(try_cast(v[5] AS DOUBLE))
"""


_RATES = f"""
SELECT floor(moment) AS second, coalesce(instance, ''), count(*), count(*) FILTER (duration_ms > $slow_ms),
       min(moment - duration_ms / 1000) FILTER (duration_ms > $slow_ms)
FROM ({_finished_of_service()}) GROUP BY ALL ORDER BY ALL
"""

# The half depends on the request's id only, not on the other lines in the files.
_WINDOW = f"""
CREATE OR REPLACE TEMP TABLE requests AS
SELECT line, moment, duration_ms, duration_ms > $slow_ms AS slow,
       ascii(md5(coalesce(v[6], v[1]))) % 2 = 0 AS first_half
FROM ({_finished_of_service(_NEAR)}) WHERE moment BETWEEN $start AND $end
"""

_CELLS = """count(*) FILTER (slow AND first_half), count(*) FILTER (slow AND NOT first_half),
    count(*) FILTER (NOT slow AND first_half), count(*) FILTER (NOT slow AND NOT first_half)"""

_COUNTS = f"SELECT {_CELLS} FROM requests"

_KEYS = f"""
SELECT key FROM (SELECT unnest(json_keys(line)) AS key FROM requests)
GROUP BY key ORDER BY count(*) DESC, key LIMIT {_MAX_FIELDS}
"""

# `json_each` would need five times the time and ten times the memory.
_SUMS = """
SELECT key, coalesce(sum(ms) FILTER (slow), 0), coalesce(sum(ms) FILTER (NOT slow), 0) FROM (
    SELECT unnest($keys) AS key, slow, TRY_CAST(unnest(json_extract_string(line, $paths)) AS DOUBLE) AS ms
    FROM requests)
WHERE isfinite(ms) GROUP BY key ORDER BY key
"""

_VALUES = f"""
CREATE OR REPLACE TEMP TABLE cells AS
SELECT field, CAST(value AS VARCHAR) AS value, {_CELLS.replace(",", " AS c{},").format(1, 2, 3)} AS c4 FROM (
    SELECT unnest($keys) AS field, unnest(json_extract(line, $paths)) AS value, slow, first_half FROM requests)
WHERE value IS NOT NULL GROUP BY ALL
"""

_PRESENT = """
SELECT field, count(*), sum(c1)::BIGINT, sum(c2)::BIGINT, sum(c3)::BIGINT, sum(c4)::BIGINT
FROM cells GROUP BY field ORDER BY field
"""

_FREQUENT = """
SELECT field, value, c1, c2, c3, c4 FROM cells WHERE c1 + c2 > 0 AND c1 + c2 + c3 + c4 > 1 ORDER BY field, value
"""

_SLOWEST = "SELECT moment, line FROM requests WHERE slow ORDER BY duration_ms DESC, moment LIMIT $limit"

_FINISHED_REQUESTS = f"""
SELECT moment, coalesce(v[3], ''), coalesce(v[5], ''), coalesce(v[6], ''), coalesce(v[7], ''), coalesce(v[8], ''),
       coalesce(v[9], '')
FROM ({select_lines(PATHS + " $.trace_id $.request_id $.method $.route $.status", _FINISHED)})
WHERE v[2] = $service AND v[4] = 'request.finished' AND starts_with(coalesce(v[6], ''), $prefix) ORDER BY moment
"""

_PROCESS_EVENTS = f"""
WITH of_service AS (
    SELECT moment, coalesce(v[3], '') AS instance, v[4] AS event, CASE WHEN v[5] <> '-' THEN moment END AS request,
           v[6] AS totals
    FROM ({
    select_lines(PATHS + " $.trace_id $.totals", "contains(line, $word) AND NOT contains(line, 'metric.sample')")
})
    WHERE v[2] = $service),
with_last AS (SELECT *, max(request) OVER (
    PARTITION BY instance ORDER BY moment ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last_request
    FROM of_service)
SELECT moment, instance, event, last_request, totals FROM with_last
WHERE event IN ('service.started', 'service.stopped') ORDER BY moment
"""

_SAMPLES = f"""
SELECT moment, coalesce(v[3], ''), v[5], v[6], v[7],
       CASE v[8] WHEN '+Inf' THEN 'inf' ELSE v[8] END::DOUBLE AS bound, v[9]::DOUBLE, v[10]
FROM ({
    select_lines(
        PATHS + " $.labels.method $.labels.route $.labels.status $.le $.value $.exemplar $.metric",
        containing("http_request_duration_seconds_bucket") + " AND contains(line, $word)",
    )
})
WHERE v[2] = $service AND v[4] = 'metric.sample' AND v[11] = 'http_request_duration_seconds_bucket'
  AND try_cast(replace(v[8], '+Inf', 'inf') AS DOUBLE) IS NOT NULL AND isfinite(try_cast(v[9] AS DOUBLE))
ORDER BY moment
"""

_SENT = f"""SELECT moment, v FROM ({
    select_lines(
        PATHS + " $.run $.request_id $.trace_id $.method $.route $.status $.client_ms", containing("request.sent")
    )
})
WHERE v[4] = 'request.sent' AND v[5] IS NOT NULL"""

_RUNS = f"SELECT v[5], min(moment), count(*) FROM ({_SENT}) GROUP BY 1 ORDER BY 2"

_SENT_REQUESTS = f"""
SELECT moment, coalesce(v[6], ''), coalesce(v[7], ''), coalesce(v[8], ''), coalesce(v[9], ''), v[10],
       CASE WHEN isfinite(try_cast(v[11] AS DOUBLE)) THEN v[11]::DOUBLE ELSE 0 END
FROM ({_SENT}) WHERE v[5] = $run ORDER BY moment
"""


class JsonlStore:
    """Log lines, samples and sent requests in files and folders, distinguished by their `event` field."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Find the files; raise `StoreError` if a path cannot be read or a folder contains none."""
        self._files = RawLines(find_files(paths))

    def summary(self) -> StoreSummary:
        """Return what the store contains, for error messages."""
        number = self._files.number
        ((lines, usable, services, first, last),) = self._files.query(_SUMMARY)
        span = None if first is None else Window(first, last)
        where = "1 file" if number == 1 else f"{number:,} files"
        return StoreSummary(where, lines, lines - usable, tuple(sorted(services or ())), span)

    def trace(self, any_id: str) -> TraceLines:
        """Return the lines with this trace id or, if there are none, of all traces with this request id."""
        rows = self._files.query(_ANY_ID, id=any_id, word=_search_word(any_id))
        of_trace = [row for row in rows if row[1] == any_id]
        if rows and not of_trace:
            of_trace = self._files.query(_TRACES, ids=sorted({row[1] for row in rows if row[1]}))
        lines = [line for at, _, text in of_trace if (line := _line(at, text)) is not None]
        trace_ids = tuple(sorted({row[1] for row in of_trace}))
        return TraceLines(trace_ids, tuple(lines[:_MAX_LINES]), max(0, len(lines) - _MAX_LINES))

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order, without empty seconds."""
        rows = self._files.query(_RATES, service=service, word=_search_word(service), slow_ms=slow_ms)
        return [Interval(second, second + 1, *rest) for second, *rest in rows]

    def count_fields(self, service: str, window: Window, slow_ms: float, exclude: Sequence[str]) -> FieldCounts:
        """Count the finished requests of a window by field and value; `exclude` are globs of field names."""
        query = self._files.query
        near = {"from_text": rfc3339(window.start - 0.001), "to_text": rfc3339(window.end + 0.001)}
        of_service = {"service": service, "word": _search_word(service), "slow_ms": slow_ms}
        query(_WINDOW, **of_service, start=window.start, end=window.end, **near)
        (overall,) = query(_COUNTS)
        keys = [key for (key,) in query(_KEYS)]
        timed = [key for key in keys if key.endswith("_ms")]
        sums = {name: (slow, fast) for name, slow, fast in query(_SUMS, keys=timed, paths=_json_pointers(timed))}
        included = [key for key in keys if not any(fnmatchcase(key, pattern) for pattern in exclude)]
        query(_VALUES, keys=included, paths=_json_pointers(included))
        fields = _fields(query(_PRESENT), query(_FREQUENT))
        slowest = [_line(*row) for row in query(_SLOWEST, limit=_MAX_SLOW_LINES)]
        return FieldCounts(_counts(overall), fields, sums, tuple(line for line in slowest if line))

    def finished(self, service: str, prefix: str = "") -> Sequence[FinishedRequest]:
        """Return the finished requests whose request id starts with `prefix`, in order."""
        of_service = {"service": service, "word": _search_word(service)}
        return [FinishedRequest(*row) for row in self._files.query(_FINISHED_REQUESTS, **of_service, prefix=prefix)]

    def process_events(self, service: str) -> Sequence[ProcessEvent]:
        """Return the starts and stops of the service's processes, in order."""
        rows = self._files.query(_PROCESS_EVENTS, service=service, word=_search_word(service))
        return [
            ProcessEvent(at, instance, event, last_request_at, parse_totals(_decode(totals)))
            for at, instance, event, last_request_at, totals in rows
        ]

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return `http_request_duration_seconds` at each scrape, in order."""
        return _scrapes(self._files.query(_SAMPLES, service=service, word=_search_word(service)))

    def runs(self) -> Sequence[Run]:
        """Return the load runs in order of their start."""
        return [Run(*row) for row in self._files.query(_RUNS)]

    def sent(self, run: str) -> Sequence[SentRequest]:
        """Return the requests of a run, in order."""
        return [SentRequest(*row) for row in self._files.query(_SENT_REQUESTS, run=run)]


class RawLines:
    """The lines of some files as the SQL view `{lines}`; what does not fit into memory is in a temporary folder."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Open an in-memory database."""
        self.files, self.number = list(files), len(files)
        try:
            folder = mkdtemp(prefix="triage-")
        except OSError:
            folder = ""  # the memory has to be enough
        else:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        config: dict[str, Any] = {
            "threads": min(_MAX_THREADS, os.cpu_count() or 1),
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": folder,
            "max_temp_directory_size": _MAX_DISK,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._database = duckdb.connect(":memory:", config=config)
        self._database.execute("SET preserve_insertion_order = false; SET enable_external_file_cache = false")
        self._database.execute("CREATE TEMP TABLE recovered (line VARCHAR)")

    def query(self, sql: str, **values: object) -> list[Row]:
        """Return the rows of a query; raise `StoreError` if the files cannot be read."""
        try:
            try:
                return self._execute(sql, values)
            except duckdb.IOException:
                if not self._recover():
                    raise
                return self._execute(sql, values)
        except duckdb.IOException as exc:
            msg = f"The files cannot be read: {str(exc).splitlines()[0]}"
            raise StoreError(msg) from None
        except duckdb.OutOfMemoryException:
            msg = "There is not enough memory for so many lines; name fewer files or a shorter window."
            raise StoreError(msg) from None
        except duckdb.Error as exc:
            msg = f"DuckDB cannot read the files; name others: {str(exc).splitlines()[0]}"
            raise StoreError(msg) from None

    def _execute(self, sql: str, values: Mapping[str, object]) -> list[Row]:
        lines = _LINES.replace("{source}", _CSV if self.files else "SELECT line FROM recovered")
        sql = sql.replace("{lines}", f"({lines})")
        files = {"files": [glob.escape(str(file)) for file in self.files]} if "$files" in sql else {}
        return self._database.execute(sql, {**values, **files}).fetchall()

    def _recover(self) -> bool:
        """Load gzip files that DuckDB rejects because they are incomplete; return whether there are any."""
        incomplete = [file for file in self.files if file.suffix == ".gz" and not _is_complete(file)]
        for file in incomplete:
            self.files.remove(file)
            for text in _decompress(file):
                lines = text.decode(errors="replace").splitlines()
                self._database.execute("INSERT INTO recovered SELECT unnest($lines)", {"lines": lines})
        return bool(incomplete)


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files at `paths`, each once; of folders, those with the suffix of a log file."""
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found.update(dict.fromkeys(_files_at(path)))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "invalid name"
            msg = f"Cannot read {path}: {reason}; name a readable file or folder of log lines."
            raise StoreError(msg) from None
    return list(found)


def _files_at(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file.resolve() for file in sorted(path.iterdir()) if file.name.endswith(_SUFFIXES) and file.is_file()]
        if not files:
            suffixes = ", ".join(f"*{suffix}" for suffix in _SUFFIXES)
            msg = f"The folder {path} contains no {suffixes}; name one that does."
            raise StoreError(msg)
    else:
        path.stat()
        if not path.is_file():
            msg = f"{path} is neither a file nor a folder; name one of them."
            raise StoreError(msg)
        files = [path.resolve()]
    for file in files:
        os.close(os.open(file, os.O_RDONLY))
    return files


def _is_complete(file: Path) -> bool:
    try:
        with gzip.open(file) as decompressed:
            while decompressed.read(_CHUNK):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return file.stat().st_size > 0  # DuckDB rejects an empty file, too


def _decompress(file: Path) -> Iterator[bytes]:
    """Yield the content of an incomplete gzip file in chunks of whole lines."""
    rest = b""
    try:
        with gzip.open(file) as decompressed:
            while chunk := decompressed.read1(_CHUNK):
                head, newline, tail = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield head
                rest = tail if len(tail) <= _MAX_LINE_BYTES else tail[:1]  # the rest of the line is not JSON
    except gzip.BadGzipFile:
        msg = f"{file} is not a gzip file; rename it or name others."
        raise StoreError(msg) from None
    except (OSError, EOFError, zlib.error):
        pass
    yield rest


def _json_pointers(keys: Iterable[str]) -> list[str]:
    """Return JSON pointers (RFC 6901), in which no key has a special meaning."""
    return [f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys]


def _search_word(text: str) -> str:
    """Return the longest part of `text` that JSON never escapes, to search for in raw lines."""
    parts: list[str] = re.findall(r"[\w.-]*", text, re.ASCII)
    return max(parts, key=len)


def _line(at: float, text: str) -> LogLine | None:
    """Return a line, or None if Python cannot decode it: numbers with thousands of digits, deep nesting."""
    try:
        return LogLine(at, json.loads(text, parse_constant=str))
    except (ValueError, RecursionError):
        return None


def _decode(text: str | None) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text or "null", parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _counts(row: Sequence[int]) -> Counts:
    slow_first, slow_second, fast_first, fast_second = row
    return Counts((slow_first, slow_second), (fast_first, fast_second))


def _fields(present: Iterable[Row], values: Iterable[Row]) -> tuple[Field, ...]:
    by_field: dict[str, list[FieldValue]] = {}
    for name, text, *cells in values:
        by_field.setdefault(name, []).append(FieldValue(text, _counts(cells)))
    return tuple(
        Field(name, distinct, _counts(cells), tuple(by_field.get(name, ()))) for name, distinct, *cells in present
    )


def _scrapes(rows: Iterable[Row]) -> list[Scrape]:
    """Combine samples by time, instance and series; series that differ only in other labels are summed."""
    found: dict[tuple[float, str], dict[Series, Histogram]] = {}
    for at, instance, method, route, status, bound, value, exemplar in rows:
        series = Series(method or "", route or "", status or "")
        histogram = found.setdefault((at, instance), {}).setdefault(series, Histogram({}, {}))
        histogram.buckets[bound] = histogram.buckets.get(bound, 0.0) + value  # type: ignore[index]
        if (parsed := _exemplar(exemplar)) is not None:
            histogram.exemplars[bound] = parsed  # type: ignore[index]
    return [Scrape(at, instance, series) for (at, instance), series in found.items()]


def _exemplar(text: str | None) -> Exemplar | None:
    try:
        facts = json.loads(text or "null")
        at, value = float(facts["timestamp"]), float(facts["value"])
        return Exemplar(str(facts["trace_id"]), str(facts["span_id"]), value, at)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
