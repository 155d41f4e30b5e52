"""The slowest requests of a run, collected by the listeners that Locust calls."""

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.slowest import SlowestRequests

GRAFANA = "http://localhost:3000"
AT = 1_795_571_578.25


def finish(requests: SlowestRequests, duration_ms: float, **more: Any) -> None:
    """Finish a request, as Locust reports it."""
    event = {"request_type": "GET", "name": "/users", "start_time": AT, "context": {"trace_id": "01a2"}, **more}
    requests.on_request(response_time=duration_ms, response_length=0, exception=None, url="", **event)


def durations(requests: SlowestRequests) -> list[object]:
    """Return the durations in the table, from top to bottom."""
    return [row["duration"] for row in requests.rows(GRAFANA)]


def test_a_row() -> None:
    """A row names the request, and links to its log lines at its time."""
    requests = SlowestRequests()
    finish(requests, 1234.5, response=SimpleNamespace(status_code=503, headers={}))
    link = f"{GRAFANA}/d/trace-logs?var-trace_id=01a2&time=1795571578250&time.window=600000"
    expected = {"time": "2026-11-25T01:52:58.250Z", "duration": 1234, "method": "GET", "request": "/users"}
    assert [{**expected, "status": 503, "lines": link}] == requests.rows(GRAFANA)


def test_the_slowest_come_first() -> None:
    """Of any number of requests, only the slowest are kept."""
    requests = SlowestRequests(limit=5)
    for duration in random.sample(range(1000), 1000):
        finish(requests, duration)
    assert [999, 998, 997, 996, 995] == durations(requests)


def test_a_new_run_starts_without_requests() -> None:
    """The requests of the last run are gone, however slow they were."""
    requests = SlowestRequests(limit=1)
    finish(requests, 900)
    requests.clear(environment=None)
    finish(requests, 1)
    assert [1] == durations(requests)


def test_workers_report_to_the_master() -> None:
    """The master has the slowest requests of all workers, each of them once."""
    master, workers = SlowestRequests(limit=3), [SlowestRequests(limit=3) for _ in range(2)]
    for finished in ([100, 300], [400], [200, 50]):
        for number, worker in enumerate(workers):
            for duration in finished:
                finish(worker, duration + number)
            report: dict[str, Any] = {"stats": []}
            worker.on_report_to_master(client_id=f"worker-{number}", data=report)
            master.on_worker_report(client_id=f"worker-{number}", data=json.loads(json.dumps(report)))
    assert [401, 400, 301] == durations(master)


def test_a_report_without_requests() -> None:
    """A worker that runs other code does not disturb the master."""
    requests = SlowestRequests()
    requests.on_worker_report(client_id="worker", data={"stats": []})
    assert [] == requests.rows(GRAFANA)


@pytest.mark.parametrize(
    ("headers", "context", "found"),
    [
        ({"X-Trace-ID": "chosen-by-the-service"}, {"trace_id": "sent"}, "chosen-by-the-service"),
        ({}, {"trace_id": "sent"}, "sent"),
        (None, {"trace_id": "sent"}, "sent"),
        ({"X-Trace-ID": "a&var-service=x"}, {"trace_id": "sent"}, "sent"),
        ({"X-Trace-ID": '"><img src=x onerror=alert(1)>'}, {"trace_id": "sent"}, "sent"),
        ({"X-Trace-ID": "ab\n"}, {}, None),
        ({"X-Trace-ID": "x" * 65}, {}, None),
        ({"X-Trace-ID": "٣"}, {}, None),
        ({"X-Trace-ID": b"01a2"}, {"trace_id": 7}, None),
        ({}, None, None),
    ],
    ids=[
        "returned", "only sent", "no response", "a parameter", "markup", "line break", "too long", "not ASCII",
        "not text", "neither",
    ],
)  # fmt: skip
def test_only_valid_trace_ids_are_linked(
    headers: dict[str, object] | None, context: dict[str, object] | None, found: str | None
) -> None:
    """The id is that of the response if it is valid, else the one that was sent, else there is no link."""
    requests = SlowestRequests()
    finish(requests, 1, response=SimpleNamespace(status_code=0, headers=headers), context=context)
    (row,) = requests.rows(GRAFANA)
    assert "no response" == row["status"]
    if found is None:
        assert "no trace id" == row["lines"]
    else:
        assert str(row["lines"]).startswith(f"{GRAFANA}/d/trace-logs?var-trace_id={found}&time=")
