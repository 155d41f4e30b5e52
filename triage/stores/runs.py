"""The folder of a measured load run: its plan, its load generators and its measurements."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from triage.errors import StoreError
from triage.models import SentRequest
from triage.stores.jsonl import PATHS, JsonlStore, containing, select_lines
from triage.urls import hide_credentials

_RUN_FILE = "run.jsonl"  # in the folder of every run
_CPU_WINDOW = 4.5  # seconds between the first and the last of five samples, roughly
_MAX_LATE_MS = 1_000  # a request sent later than this after its due time is not counted as planned


class RunPlan(NamedTuple):
    """The plan of a run, and how it ended; `ended` is None if there is no `run.stopped` line.

    `rate` is the number of requests per second over all of the planned `seconds`. `clock_offset` is how many seconds
    the generator's clock is ahead of the service's, if known.
    """

    name: str
    began: float
    ended: float | None
    interrupted: bool
    host: str
    profile: str
    loop: str
    seconds: float
    rate: float
    workers: int
    clock_offset: float | None


class Generator(NamedTuple):
    """A process that generated load; `cpu` is its highest mean over five seconds, in cores."""

    worker: str
    cpu: float | None
    stopped: bool


class Latencies(NamedTuple):
    """Requests, failures and exact latency quantiles at the client, of a run or of one route."""

    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class TimedRequest(NamedTuple):
    """A sent request and its duration at the server, from `Server-Timing`."""

    sent: SentRequest
    server_ms: float | None

    @property
    def difference_ms(self) -> float | None:
        """The time outside of the server: network, and queues at both ends."""
        return None if self.server_ms is None else round(self.sent.client_ms - self.server_ms, 3)


class Measurements(NamedTuple):
    """The measurements of a run, overall and by route (`METHOD route`).

    `in_time` requests were sent when they were due; `ended` is the time of the last response. `failed` requests are not
    in `slowest`. For `without_descriptor` of them, the generator had too many open files.
    """

    overall: Latencies | None
    routes: Mapping[str, Latencies]
    in_time: int
    without_descriptor: int
    ended: float | None
    slowest: tuple[TimedRequest, ...]
    failed: tuple[TimedRequest, ...]


def _finite(text: str) -> str:
    return f"CASE WHEN isfinite(try_cast({text} AS DOUBLE)) THEN try_cast({text} AS DOUBLE) END"


_PLAN = " $.run $.host $.profile $.loop $.seconds $.rate $.workers $.interrupted $.clock_offset_s"

_STARTED = f"""
SELECT moment, v[5], coalesce(v[6], ''), coalesce(v[7], ''), coalesce(v[8], ''),
       try_cast(v[9] AS DOUBLE), try_cast(v[10] AS DOUBLE), try_cast(v[11] AS INTEGER),
       {_finite("v[13]")}
FROM ({select_lines(PATHS + _PLAN, containing("run.started"))})
WHERE v[4] = 'run.started' AND v[5] IS NOT NULL ORDER BY moment DESC LIMIT 1
"""

_STOPPED = f"""
SELECT moment, coalesce(v[12], 'false') <> 'false' FROM ({select_lines(PATHS + _PLAN, containing("run.stopped"))})
WHERE v[4] = 'run.stopped' AND v[5] = $run ORDER BY moment LIMIT 1
"""

_GENERATORS = f"""
WITH lines AS (
    SELECT moment, v[4] AS event, coalesce(v[6], '') AS worker, try_cast(v[7] AS DOUBLE) AS cpu
    FROM ({select_lines(PATHS + " $.run $.worker $.cpu", "contains(line, 'generator.s')")})
    WHERE v[4] IN ('generator.sampled', 'generator.stopped') AND v[5] = $run),
sampled AS (
    SELECT worker, moment - min(moment) OVER whole AS since, max(moment) OVER whole - min(moment) OVER whole AS length,
           avg(cpu) OVER (
               PARTITION BY worker ORDER BY moment RANGE BETWEEN {_CPU_WINDOW} PRECEDING AND CURRENT ROW) AS mean
    FROM lines WHERE event = 'generator.sampled' AND isfinite(cpu) WINDOW whole AS (PARTITION BY worker)),
worst AS (
    SELECT worker, max(mean) FILTER (since >= least({_CPU_WINDOW} - 1, length)) AS cpu FROM sampled GROUP BY worker)
SELECT worker, any_value(worst.cpu), bool_or(event = 'generator.stopped')
FROM lines LEFT JOIN worst USING (worker) GROUP BY worker ORDER BY try_cast(worker AS INTEGER), worker
"""

_FIELDS = " $.run $.request_id $.trace_id $.method $.route $.status $.client_ms $.server_ms $.late_ms $.error"

# Parsed once; the queries on this table are fast, even with a million requests.
_SENT_TABLE = f"""
CREATE OR REPLACE TEMP TABLE sent AS
SELECT moment, coalesce(v[6], '') AS request_id, coalesce(v[7], '') AS trace_id, coalesce(v[8], '') AS method,
       coalesce(v[9], '') AS route, v[10] AS status, v[10] IS NULL OR v[10] LIKE '5__' AS failed,
       coalesce({_finite("v[11]")}, 0) AS client_ms, {_finite("v[12]")} AS server_ms,
       coalesce({_finite("v[13]")}, 0) AS late_ms, coalesce(v[14], '') AS error
FROM ({select_lines(PATHS + _FIELDS, containing("request.sent"))}) WHERE v[4] = 'request.sent' AND v[5] = $run
"""

_LATENCIES = """
SELECT name, requests, failures, q[1], q[2], q[3], q[4] FROM (
    SELECT CASE WHEN grouping(method) = 0 THEN concat(method, ' ', route) END AS name, count(*) AS requests,
           count(*) FILTER (failed) AS failures, quantile_disc(client_ms, [0.5, 0.95, 0.99, 1.0]) AS q
    FROM sent GROUP BY GROUPING SETS ((), (method, route)))
WHERE requests > 0 ORDER BY requests DESC, name
"""

_PROGRESS = f"""
SELECT count(*) FILTER (late_ms <= {_MAX_LATE_MS}), count(*) FILTER (error = 'TooManyOpenFiles'),
       max(moment + client_ms / 1000)
FROM sent
"""

_REQUEST = "SELECT moment, request_id, trace_id, method, route, status, client_ms, server_ms FROM sent"

_SLOWEST = f"{_REQUEST} WHERE NOT failed ORDER BY client_ms DESC, moment, request_id LIMIT $limit"

_FAILED = f"{_REQUEST} WHERE failed ORDER BY moment, request_id LIMIT $limit"


class RunFolder(JsonlStore):
    """A load run, read from the files of its processes."""

    def __init__(self, folder: Path) -> None:
        """Find the files; raise `StoreError` if there are none."""
        super().__init__([folder])
        self._folder = folder

    def plan(self) -> RunPlan:
        """Return the plan of the run; raise `StoreError` if it is missing or incomplete."""
        started = self._files.query(_STARTED)
        if not started:
            msg = f"There is no run.started line in {self._folder}: name the folder of a run."
            raise StoreError(msg)
        ((began, name, host, profile, loop, seconds, rate, workers, clock_offset),) = started
        if not all(isfinite(each or 0) and (each or 0) > 0 for each in (seconds, rate, workers)):
            msg = f"The run.started line in {self._folder} lacks the planned seconds, rate or workers."
            raise StoreError(msg)
        stopped = self._files.query(_STOPPED, run=name)
        ended, interrupted = stopped[0] if stopped else (None, False)
        host = hide_credentials(host)  # other tools, and earlier versions of this one, record them
        return RunPlan(name, began, ended, interrupted, host, profile, loop, seconds, rate, workers, clock_offset)

    def generators(self, run: str) -> Sequence[Generator]:
        """Return the processes that generated the load, in order."""
        return [Generator(*row) for row in self._files.query(_GENERATORS, run=run)]

    def measurements(self, run: str, slowest: int, failed: int) -> Measurements:
        """Return the measurements, with at most that many of the slowest and of the first failed requests."""
        query = self._files.query
        query(_SENT_TABLE, run=run)
        routes = {row[0]: Latencies(*row[1:]) for row in query(_LATENCIES)}
        ((in_time, without_descriptor, ended),) = query(_PROGRESS)
        return Measurements(
            routes.pop(None, None),
            routes,
            in_time,
            without_descriptor,
            ended,
            tuple(TimedRequest(SentRequest(*sent), server_ms) for *sent, server_ms in query(_SLOWEST, limit=slowest)),
            tuple(TimedRequest(SentRequest(*sent), server_ms) for *sent, server_ms in query(_FAILED, limit=failed)),
        )


def find_run(runs: Path, run: str | None) -> Path:
    """Return the folder of a run, named by its folder in `runs` or by a path, or else the newest one in `runs`.

    Raise `StoreError` if there is none.
    """
    folders = _run_folders(runs)
    if run is not None:
        found = next((each for each in (runs / run, Path(run)) if _is_run(each)), None)
        if found is None:
            newest = ", ".join(each.name for each in folders[-3:]) or "none"
            msg = (
                f"There is no run {run}: it is neither in {runs} nor the path of a folder with a {_RUN_FILE}; "
                f"newest runs: {newest}"
            )
            raise StoreError(msg)
        return found
    if not folders:
        msg = f"There is no run in {runs}: make one with make load, or name another folder with --runs"
        raise StoreError(msg)
    return folders[-1]


def _run_folders(runs: Path) -> list[Path]:
    """Return the folders of all runs, the one that was started or stopped last at the end."""
    try:
        folders = [each for each in runs.iterdir() if _is_run(each)]
        return sorted(folders, key=lambda each: (each / _RUN_FILE).stat().st_mtime)
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    try:
        return (folder / _RUN_FILE).is_file()
    except (OSError, ValueError):
        return False
