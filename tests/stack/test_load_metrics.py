"""The metrics of the load generator in Prometheus."""

import sys
from pathlib import Path

import httpx2

from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.stack.native import NativeStack


def test_metrics_match_the_sent_requests(processes: Processes, payments: Service, tmp_path: Path) -> None:
    """Request counts by route and status are those of both generators, and all gauges are 0 at the end."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/pushed.db", "PAYMENTS_URL": payments.url}
    with NativeStack() as stack, running(processes, "api", settings, "pushed") as service:
        stack.start_prometheus()
        command = [
            sys.executable,
            "-m",
            "loadtest.run",
            "--host",
            service.url,
            "--folder",
            str(tmp_path),
            "--run",
            "metrics",
        ]
        no_locust = f"http://127.0.0.1:{free_port()}"
        environment = {"PROMETHEUS_URL": stack.url("prometheus"), "LOCUST_URL": no_locust}
        processes.start("run", [*command, "--workers", "2", "--seconds", "8"], environment)
        assert 0 == processes.wait("run"), processes.last_lines("run")

        counts = "sum by (job, method, route, status) (load_request_duration_seconds_count)"
        received = {
            (series["job"], series["method"], series["route"], series["status"]): value
            for series, value in query(stack, counts)
        }
        gauges = {
            series["__name__"]: value for series, value in query(stack, '{__name__=~"load_(rate|users|in_flight)"}')
        }
    sent: dict[tuple[str, ...], float] = {}
    for file in tmp_path.glob("metrics/sent-*.jsonl"):
        for line in parse(file.read_text()):
            if line["event"] == "request.sent":
                key = ("loadtest", line["method"], line["route"], str(line["status"]))
                sent[key] = sent.get(key, 0) + 1
    assert 100 < sum(sent.values())  # 160, unless the machine is too busy to send the last ones in time
    assert sent == received
    assert {"load_rate": 0, "load_users": 0, "load_in_flight": 0} == gauges


def query(stack: NativeStack, expr: str) -> list[tuple[dict[str, str], float]]:
    response = httpx2.get(f"{stack.url('prometheus')}/api/v1/query", params={"query": expr}).json()
    return [(row["metric"], float(row["value"][1])) for row in response["data"]["result"]]
