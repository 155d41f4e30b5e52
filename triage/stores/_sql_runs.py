"""The queries about one run of the load."""

from triage.stores._sql import PATH, event, parsed

_FIVE = 4.5  # seconds from the first to the last of five samples, as they come
_LATE = 1_000  # milliseconds; what is sent later than that was not sent when it was due


def _finite(text: str) -> str:
    return f"CASE WHEN isfinite(try_cast({text} AS DOUBLE)) THEN try_cast({text} AS DOUBLE) END"


_FACTS = " $.run $.host $.profile $.loop $.seconds $.rate $.workers $.interrupted"

STARTED = f"""
SELECT moment, v[5], coalesce(v[6], ''), coalesce(v[7], ''), coalesce(v[8], ''),
       try_cast(v[9] AS DOUBLE), try_cast(v[10] AS DOUBLE), try_cast(v[11] AS INTEGER)
FROM ({parsed(PATH + _FACTS, event("run.started"))})
WHERE v[4] = 'run.started' AND v[5] IS NOT NULL ORDER BY moment DESC LIMIT 1
"""

STOPPED = f"""
SELECT moment, coalesce(v[12], 'false') <> 'false' FROM ({parsed(PATH + _FACTS, event("run.stopped"))})
WHERE v[4] = 'run.stopped' AND v[5] = $run ORDER BY moment LIMIT 1
"""

GENERATORS = f"""
WITH told AS (
    SELECT moment, v[4] AS event, coalesce(v[6], '') AS worker, try_cast(v[7] AS DOUBLE) AS cpu
    FROM ({parsed(PATH + " $.run $.worker $.cpu", "contains(line, 'generator.s')")})
    WHERE v[4] IN ('generator.sampled', 'generator.stopped') AND v[5] = $run),
sampled AS (
    SELECT worker, moment - min(moment) OVER whole AS since, max(moment) OVER whole - min(moment) OVER whole AS length,
           avg(cpu) OVER (PARTITION BY worker ORDER BY moment RANGE BETWEEN {_FIVE} PRECEDING AND CURRENT ROW) AS mean
    FROM told WHERE event = 'generator.sampled' AND isfinite(cpu) WINDOW whole AS (PARTITION BY worker)),
worst AS (
    SELECT worker, max(mean) FILTER (since >= least({_FIVE} - 1, length)) AS cpu FROM sampled GROUP BY worker)
SELECT worker, any_value(worst.cpu), bool_or(event = 'generator.stopped')
FROM told LEFT JOIN worst USING (worker) GROUP BY worker ORDER BY try_cast(worker AS INTEGER), worker
"""

_SENT = " $.run $.request_id $.trace_id $.method $.route $.status $.client_ms $.server_ms $.late_ms"

# Parsed once; all that is asked of it is quick, also with a million requests.
SENT = f"""
CREATE OR REPLACE TEMP TABLE sent AS
SELECT moment, coalesce(v[6], '') AS request_id, coalesce(v[7], '') AS trace_id, coalesce(v[8], '') AS method,
       coalesce(v[9], '') AS route, v[10] AS status, v[10] IS NULL OR v[10] LIKE '5__' AS failed,
       coalesce({_finite("v[11]")}, 0) AS client_ms, {_finite("v[12]")} AS server_ms,
       coalesce({_finite("v[13]")}, 0) AS late_ms
FROM ({parsed(PATH + _SENT, event("request.sent"))}) WHERE v[4] = 'request.sent' AND v[5] = $run
"""

LATENCIES = """
SELECT name, requests, failures, q[1], q[2], q[3], q[4] FROM (
    SELECT CASE WHEN grouping(method) = 0 THEN concat(method, ' ', route) END AS name, count(*) AS requests,
           count(*) FILTER (failed) AS failures, quantile_disc(client_ms, [0.5, 0.95, 0.99, 1.0]) AS q
    FROM sent GROUP BY GROUPING SETS ((), (method, route)))
WHERE requests > 0 ORDER BY requests DESC, name
"""

LENGTH = f"SELECT count(*) FILTER (late_ms <= {_LATE}), max(moment + client_ms / 1000) FROM sent"

_REQUEST = "SELECT moment, request_id, trace_id, method, route, status, client_ms, server_ms FROM sent"

SLOWEST = f"{_REQUEST} WHERE NOT failed ORDER BY client_ms DESC, moment, request_id LIMIT $most"

FAILED = f"{_REQUEST} WHERE failed ORDER BY moment, request_id LIMIT $most"
