"""What the load pushes is what Prometheus says afterwards."""

import sys
from pathlib import Path

import httpx2

from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.services import Service, running
from tests.stack.native import NativeStack


def test_prometheus_knows_what_the_clients_saw(processes: Processes, payments: Service, tmp_path: Path) -> None:
    """As many requests as the run made, by route and status, over both generators; nobody is left at its end."""
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
            "tried",
        ]
        nobody = f"http://127.0.0.1:{free_port()}"
        environment = {"PROMETHEUS_URL": stack.url("prometheus"), "LOCUST_URL": nobody}
        processes.start("pushing", [*command, "--workers", "2", "--seconds", "8"], environment)
        assert 0 == processes.wait("pushing"), processes.last_lines("pushing")

        asked = "sum by (job, method, route, status) (load_request_duration_seconds_count)"
        counted = {
            (series["job"], series["method"], series["route"], series["status"]): value
            for series, value in ask(stack, asked)
        }
        gauges = {
            series["__name__"]: value for series, value in ask(stack, '{__name__=~"load_(rate|users|in_flight)"}')
        }
    sent: dict[tuple[str, ...], float] = {}
    for file in tmp_path.glob("tried/sent-*.jsonl"):
        for line in parse(file.read_text()):
            if line["event"] == "request.sent":
                key = ("loadtest", line["method"], line["route"], str(line["status"]))
                sent[key] = sent.get(key, 0) + 1
    assert 100 < sum(sent.values())  # 160, unless the machine is too busy to send the last ones in time
    assert sent == counted
    assert {"load_rate": 0, "load_users": 0, "load_in_flight": 0} == gauges


def ask(stack: NativeStack, query: str) -> list[tuple[dict[str, str], float]]:
    answer = httpx2.get(f"{stack.url('prometheus')}/api/v1/query", params={"query": query}).json()
    return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]
