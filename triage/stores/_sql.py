"""The queries. A cheap look for a word comes first in each, so that few lines are parsed; it may let others through."""

_MOST_FIELDS = 1_000  # of one window; somebody might make one of every id
PATH = "$.timestamp $.service $.instance $.event"


def parsed(paths: str, where: str) -> str:
    """Return the lines that `where` lets through, with a list `v` of the texts at `paths`."""
    listed = ", ".join(f"'{path}'" for path in paths.split())
    # Without MATERIALIZED, DuckDB parses the line once for each time that `v` is named.
    return f"""WITH parsed AS MATERIALIZED (
        SELECT line, TRY(json_extract_string(line, [{listed}])) AS v
        FROM {{lines}} WHERE {where})
        SELECT line, v, epoch(try_cast(v[1] AS TIMESTAMP)) AS moment FROM parsed
        WHERE try_cast(v[1] AS TIMESTAMP) IS NOT NULL"""


def event(name: str) -> str:
    """Return the cheap look for lines of one event."""
    return f"contains(line, '{name}')"


_FINISHED = event("request.finished") + " AND contains(line, $needle)"

SEARCHED = """
WITH texts AS (
    SELECT CASE WHEN line IS NOT NULL THEN json_extract_string(line, ['$.timestamp', '$.service']) END AS v
    FROM {objects}),
lines AS (SELECT epoch(try_cast(v[1] AS TIMESTAMP)) AS moment, v[2] AS service FROM texts)
SELECT count(*), count(moment), list(DISTINCT service) FILTER (moment IS NOT NULL), min(moment), max(moment)
FROM (SELECT service, CASE WHEN service IS NOT NULL THEN moment END AS moment FROM lines)
"""

TRACE = f"""
SELECT moment, v[3], line FROM ({parsed("$.timestamp $.service $.trace_id $.request_id", "contains(line, $needle)")})
WHERE v[2] IS NOT NULL AND (v[3] = $id OR v[4] = $id) ORDER BY moment, line
"""

TRACES = f"""
SELECT moment, v[3], line FROM (
    {parsed("$.timestamp $.service $.trace_id", "list_bool_or([contains(line, id) FOR id IN $ids])")})
WHERE v[2] IS NOT NULL AND list_contains($ids, v[3]) ORDER BY moment, line
"""

# Our own lines begin with the time, so that most of those outside of a window need no parsing.
_NEAR = """ AND (NOT starts_with(line, '{"timestamp":"') OR substr(line, 42, 1) <> '"'
    OR substr(line, 15, 27) BETWEEN $from_text AND $to_text)"""


def _of_service(where: str = "") -> str:
    return f"""
SELECT line, moment, v[3] AS instance, try_cast(v[5] AS DOUBLE) AS duration_ms, v
FROM ({parsed(PATH + " $.duration_ms $.span_id", _FINISHED + where)})
WHERE v[2] = $service AND v[4] = 'request.finished' AND isfinite(try_cast(v[5] AS DOUBLE))
"""


RATES = f"""
SELECT floor(moment) AS second, coalesce(instance, ''), count(*), count(*) FILTER (duration_ms > $slow_ms),
       min(moment - duration_ms / 1000) FILTER (duration_ms > $slow_ms)
FROM ({_of_service()}) GROUP BY ALL ORDER BY ALL
"""

# A half is told by the request's own id, so that it is the same one whatever else is read.
WINDOW = f"""
CREATE OR REPLACE TEMP TABLE requests AS
SELECT line, moment, duration_ms, duration_ms > $slow_ms AS slow,
       ascii(md5(coalesce(v[6], v[1]))) % 2 = 0 AS first_half
FROM ({_of_service(_NEAR)}) WHERE moment BETWEEN $start AND $end
"""

_CELLS = """count(*) FILTER (slow AND first_half), count(*) FILTER (slow AND NOT first_half),
    count(*) FILTER (NOT slow AND first_half), count(*) FILTER (NOT slow AND NOT first_half)"""

COUNTS = f"SELECT {_CELLS} FROM requests"

KEYS = f"""
SELECT key FROM (SELECT unnest(json_keys(line)) AS key FROM requests)
GROUP BY key ORDER BY count(*) DESC, key LIMIT {_MOST_FIELDS}
"""

# `json_each` would do the same at five times the time and ten times the memory.
SUMS = """
SELECT key, coalesce(sum(ms) FILTER (slow), 0), coalesce(sum(ms) FILTER (NOT slow), 0) FROM (
    SELECT unnest($keys) AS key, slow, TRY_CAST(unnest(json_extract_string(line, $paths)) AS DOUBLE) AS ms
    FROM requests)
WHERE isfinite(ms) GROUP BY key ORDER BY key
"""

VALUES = f"""
CREATE OR REPLACE TEMP TABLE cells AS
SELECT field, CAST(value AS VARCHAR) AS value, {_CELLS.replace(",", " AS c{},").format(1, 2, 3)} AS c4 FROM (
    SELECT unnest($keys) AS field, unnest(json_extract(line, $paths)) AS value, slow, first_half FROM requests)
WHERE value IS NOT NULL GROUP BY ALL
"""

PRESENT = """
SELECT field, count(*), sum(c1)::BIGINT, sum(c2)::BIGINT, sum(c3)::BIGINT, sum(c4)::BIGINT
FROM cells GROUP BY field ORDER BY field
"""

TELLING = """
SELECT field, value, c1, c2, c3, c4 FROM cells WHERE c1 + c2 > 0 AND c1 + c2 + c3 + c4 > 1 ORDER BY field, value
"""

SLOWEST = "SELECT moment, line FROM requests WHERE slow ORDER BY duration_ms DESC, moment LIMIT $most"

FINISHED = f"""
SELECT moment, coalesce(v[3], ''), coalesce(v[5], ''), coalesce(v[6], ''), v[7], v[8], v[9]
FROM ({parsed(PATH + " $.trace_id $.request_id $.method $.route $.status", _FINISHED)})
WHERE v[2] = $service AND v[4] = 'request.finished' AND starts_with(coalesce(v[6], ''), $prefix) ORDER BY moment
"""

LIVES = f"""
WITH theirs AS (
    SELECT moment, coalesce(v[3], '') AS instance, v[4] AS event, CASE WHEN v[5] <> '-' THEN moment END AS request,
           v[6] AS totals
    FROM ({parsed(PATH + " $.trace_id $.totals", "contains(line, $needle) AND NOT contains(line, 'metric.sample')")})
    WHERE v[2] = $service),
followed AS (SELECT *, max(request) OVER (
    PARTITION BY instance ORDER BY moment ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM theirs)
SELECT moment, instance, event, before, totals FROM followed
WHERE event IN ('service.started', 'service.stopped') ORDER BY moment
"""

SAMPLES = f"""
SELECT moment, coalesce(v[3], ''), v[5], v[6], v[7],
       CASE v[8] WHEN '+Inf' THEN 'inf' ELSE v[8] END::DOUBLE AS bound, v[9]::DOUBLE, v[10]
FROM ({
    parsed(
        PATH + " $.labels.method $.labels.route $.labels.status $.le $.value $.exemplar $.metric",
        event("http_request_duration_seconds_bucket") + " AND contains(line, $needle)",
    )
})
WHERE v[2] = $service AND v[4] = 'metric.sample' AND v[11] = 'http_request_duration_seconds_bucket'
  AND try_cast(replace(v[8], '+Inf', 'inf') AS DOUBLE) IS NOT NULL AND isfinite(try_cast(v[9] AS DOUBLE))
ORDER BY moment
"""

_SENT = f"""SELECT moment, v FROM ({
    parsed(PATH + " $.run $.request_id $.trace_id $.method $.route $.status $.client_ms", event("request.sent"))
})
WHERE v[4] = 'request.sent' AND v[5] IS NOT NULL"""

RUNS = f"SELECT v[5], min(moment), count(*) FROM ({_SENT}) GROUP BY 1 ORDER BY 2"

SENT = f"""
SELECT moment, coalesce(v[6], ''), coalesce(v[7], ''), v[8], v[9], v[10], coalesce(try_cast(v[11] AS DOUBLE), 0)
FROM ({_SENT}) WHERE v[5] = $run ORDER BY moment
"""
