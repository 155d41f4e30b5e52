"""`python -m bench.dashboards`: measure how long Grafana's queries take with 24 hours of data.

It starts Loki, Prometheus and Grafana on this machine, and needs `make servers` and `GRAFANA_HOME`.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import orjson

from app.observability import BUCKETS
from bench.report import table
from bench.triage import Order
from tests.stack.native import ROOT, NativeStack, server
from triage.timestamps import parse

RESULTS = Path(__file__).with_name("DASHBOARDS.md")
_HOURS = 24
_REQUESTS_PER_SECOND = 20
_SLOW = 0.002  # share of the requests
_CONNECTIONS = 6  # of a browser to one host
_ROUNDS = 5

_PAGE = """\
# How long the dashboards take

Written by `make bench-dashboards`: {lines:,} log lines of {hours} hours at {rate} requests per second, {slow:,} of
them of slow requests, and the metrics of the same time. All panels of a dashboard query at once, over {connections}
connections, like in a browser. The figures are of {rounds} rounds, on {cores} cores with a load average of {load:.1f}
at the start.

{totals}

The panels of the home dashboard over {hours} hours, each by itself:

{panels}
"""


def push_lines(loki: str, begin: float, end: float) -> tuple[int, int, str]:
    """Push the lines; return their number, the number of slow requests, and the trace id of a slow request."""
    rng = random.Random(1)  # noqa: S311 - the same lines each time
    count = slow = 0
    known = ""
    with httpx2.Client(base_url=loki, timeout=120) as client:
        requests = int((end - begin) * _REQUESTS_PER_SECOND)
        for first in range(0, requests, 2000):
            streams: dict[tuple[str, str], list[object]] = {}
            for number in range(first, min(first + 2000, requests)):
                is_slow = rng.random() < _SLOW
                trace_id = f"{rng.getrandbits(128):032x}"
                took = 2000 + rng.random() if is_slow else rng.expovariate(0.1)
                at = begin + number / _REQUESTS_PER_SECOND
                slow += is_slow
                known = trace_id if is_slow else known
                order = Order(number, at, trace_id, rng.randrange(1, 201), round(took, 3))
                for line in order.lines(rng):
                    nanoseconds = str(round(parse(str(line["timestamp"])) * 1e6) * 1000)
                    metadata = {"trace_id": trace_id, "instance": line["instance"]}
                    entry = [nanoseconds, orjson.dumps(line).decode(), metadata]
                    streams.setdefault((str(line["service"]), str(line["level"])), []).append(entry)
                    count += 1
            body = [
                {"stream": {"service_name": service, "level": level}, "values": values}
                for (service, level), values in streams.items()
            ]
            push = orjson.dumps({"streams": body})
            client.post(
                "/loki/api/v1/push", content=push, headers={"Content-Type": "application/json"}
            ).raise_for_status()
    return count, slow, known


def write_metrics(file: Path, begin: float, end: float) -> None:
    """Write the metrics of the services and the recorded series in the OpenMetrics format."""
    bounds = [*BUCKETS, float("inf")]
    times = [begin + 5 * number for number in range(int((end - begin) / 5))]
    with file.open("w") as output:
        output.write("# TYPE http_request_duration_seconds histogram\n")
        for service, method, route in (
            ("api", "POST", "/orders"),
            ("api", "GET", "/users"),
            ("payments", "POST", "/charges"),
        ):
            labels = f'job="{service}",instance="127.0.0.1:8000",method="{method}",route="{route}",status="200"'
            for bound in bounds:
                share = 1 if bound > 2 else 1 - _SLOW if bound > 0.1 else bound * 9  # noqa: PLR2004 - buckets
                label = "+Inf" if bound == bounds[-1] else bound
                for index, at in enumerate(times):
                    value = int(index * 5 * _REQUESTS_PER_SECOND * share / 2)
                    output.write(f'http_request_duration_seconds_bucket{{{labels},le="{label}"}} {value} {at:.0f}\n')
            for index, at in enumerate(times):
                output.write(f"http_request_duration_seconds_count{{{labels}}} {index * 50} {at:.0f}\n")
        for series in (
            'job_slo:burn:rate1d{job="api",slo="latency"}', 'job_slo:burn:rate1d{job="api",slo="availability"}',
            'job:log_lines_stored:ratio10m{job="api"}', 'fault_active{job="api",fault="slow-query"}',
        ):  # fmt: skip
            output.write(f"# TYPE {series.partition('{')[0]} gauge\n")
            output.writelines(f"{series} 0.5 {at:.0f}\n" for at in times)
        for level in ("debug", "info", "warning"):
            output.write("# TYPE log_records counter\n" if level == "debug" else "")
            series = f'log_records_total{{job="api",instance="127.0.0.1:8000",level="{level}"}}'
            output.writelines(f"{series} {index * 100} {at:.0f}\n" for index, at in enumerate(times))
        output.write("# EOF\n")


def panels(dashboard: str, values: dict[str, str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the title and the queries of each panel that is not in a collapsed row."""
    text = (ROOT / "grafana/dashboards" / f"{dashboard}.json").read_text()
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value).replace(f"${{{name}:percentencode}}", value)
    for panel in json.loads(text)["panels"]:
        if panel.get("targets"):
            queries = [
                {"refId": f"Q{number}", "maxDataPoints": 600, **target}
                for number, target in enumerate(panel["targets"])
            ]
            yield panel["title"], queries


def query(client: httpx2.Client, queries: list[dict[str, Any]], begin: float, end: float) -> float:
    """Run the queries of a panel; return the seconds that it took."""
    interval = max(5000, int((end - begin) * 1000 / 600))
    body = {
        "from": str(int(begin * 1000)),
        "to": str(int(end * 1000)),
        "queries": [{**each, "intervalMs": interval} for each in queries],
    }
    started = time.perf_counter()
    response = client.post("/api/ds/query", json=body)
    if response.is_error:
        sys.exit(f"A query failed: {response.text[:500]} {body}")
    return time.perf_counter() - started


def measure(
    grafana: str, dashboard: str, values: dict[str, str], begin: float, end: float
) -> tuple[list[float], dict[str, float]]:
    """Return the seconds of each round of all panels, and the median of each panel by itself."""
    all_panels = dict(panels(dashboard, values))
    with httpx2.Client(base_url=grafana, timeout=300) as client, ThreadPoolExecutor(_CONNECTIONS) as pool:
        totals = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(lambda queries: query(client, queries, begin, end), all_panels.values()))
            totals.append(time.perf_counter() - started)
        alone = {
            title: statistics.median(query(client, queries, begin, end) for _ in range(_ROUNDS))
            for title, queries in all_panels.items()
        }
    return totals, alone


def main() -> None:
    """Fill the stores, measure the dashboards, and write the page."""
    load = os.getloadavg()[0]
    end = time.time()
    begin = end - _HOURS * 3600
    with NativeStack() as native:
        native.start_loki()
        metrics, blocks = native.folder / "metrics.txt", native.folder / "prometheus/data"
        write_metrics(metrics, begin, end)
        command: list[str | Path] = [server("promtool"), "tsdb", "create-blocks-from", "openmetrics", metrics, blocks]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own file
        lines, slow, trace_id = push_lines(native.url("loki"), begin, end)
        native.start_prometheus()
        native.start_gateway()
        grafana = native.start_grafana() or sys.exit("GRAFANA_HOME does not name an unpacked Grafana.")
        sources = {"service": "api", "prometheus": "prometheus", "loki": "loki", "id": trace_id, "trace_id": trace_id}
        rows = []
        alone: dict[str, float] = {}
        for dashboard, hours, name in (
            ("service", 1 / 4, "15 minutes"),
            ("trace-logs", 1 / 6, "10 minutes"),
            ("trace-logs", 1, "1 hour"),
            ("service", _HOURS, f"{_HOURS} hours"),
        ):
            totals, alone = measure(grafana, dashboard, sources, end - hours * 3600, end)
            figures = f"{statistics.median(totals):.2f} s", f"{max(totals):.2f} s"
            rows.append([f"`{dashboard}`", name, *figures])
        slowest = sorted(alone.items(), key=lambda panel: -panel[1])
    page = _PAGE.format(
        lines=lines, hours=_HOURS, rate=_REQUESTS_PER_SECOND, slow=slow, connections=_CONNECTIONS, rounds=_ROUNDS,
        cores=os.cpu_count(), load=load,
        totals=table(["dashboard", "time range", "all panels, median", "maximum"], rows),
        panels=table(["panel", "median"], [[title, f"{seconds:.2f} s"] for title, seconds in slowest]),
    )  # fmt: skip
    RESULTS.write_text(page)


if __name__ == "__main__":
    main()
