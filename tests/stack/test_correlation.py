"""Exemplars and counters in Prometheus match the lines in Loki."""

import json
import time
from datetime import UTC, datetime

import httpx2
import pytest

from tests.stack import stores
from tests.stack.native import NativeStack, Stack
from tests.waiting import wait_for

ORDER = {"user_id": 17, "sku": "mug", "quantity": 1}


def test_trace_id_finds_lines_of_both_services(stack: Stack) -> None:
    """The trace id in the response header finds all lines of the service and of payments, in order."""
    trace_id = httpx2.post(f"{stack.api}/orders", json=ORDER).raise_for_status().headers["x-trace-id"]

    def both_finished() -> list[stores.StoredLine] | None:
        found = stores.lines_of(stack.loki, trace_id)
        finished = [line for line in found if line.fields.get("event") == "request.finished"]
        return found if len(finished) == 2 else None

    found = wait_for(both_finished, "the lines of both services")
    assert {"api", "payments"} == {line.labels["service_name"] for line in found}
    assert {trace_id} == {line.fields["trace_id"] for line in found}
    assert "Payment captured" in [line.fields["message"] for line in found]
    assert found == sorted(found, key=lambda line: line.fields["timestamp"])


def test_labels_and_metadata(stack: Stack) -> None:
    """A line has two labels with the values of its fields, and the trace id and the instance as structured metadata."""
    trace_id = httpx2.get(f"{stack.api}/users/17").headers["x-trace-id"]
    found = wait_for(lambda: stores.lines_of(stack.loki, trace_id), "the lines")

    for line in found:
        fields = line.fields
        assert {
            "service_name": fields["service"],
            "instance": fields["instance"],
            "level": fields["level"],
            "trace_id": trace_id,
        } == line.labels
    streams = stores.series(stack.loki, '{service_name="api"}')
    assert {frozenset({"service_name", "level"})} == {frozenset(stream) for stream in streams}


def test_fast_stream_is_not_split(stack: Stack) -> None:
    """Loki does not split a fast stream, because lines that are sent twice would then be shown twice."""
    labels = {"service_name": "fast", "level": "info"}
    until = time.monotonic() + 8  # Loki checks the rates every few seconds
    while time.monotonic() < until:
        values = [[str(time.time_ns()), "fast " * 50] for _ in range(5000)]
        body = {"streams": [{"stream": labels, "values": values}]}
        httpx2.post(f"{stack.loki}/loki/api/v1/push", json=body, timeout=30)

    assert [labels] == stores.series(stack.loki, '{service_name="fast"}')


def test_job_and_instance_match_the_lines(stack: Stack) -> None:
    """`job` and `instance` in Prometheus are `service` and `instance` in the lines."""

    def up() -> set[tuple[str, str]] | None:
        found = stores.query(stack.prometheus, 'up{job=~"api|payments"} == 1')
        targets = {(target["metric"]["job"], target["metric"]["instance"]) for target in found}
        return targets if {"api", "payments"} == {job for job, _ in targets} else None

    targets = wait_for(up, "the targets")

    def written() -> bool:
        found = stores.lines(stack.loki, '{service_name=~"api|payments"} |= `service.started`')
        return targets <= {(line.labels["service_name"], line.labels["instance"]) for line in found}

    wait_for(written, f"lines of {targets}")


@pytest.mark.usefixtures("load")
def test_every_exemplar_resolves(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Every exemplar has exactly one `request.finished` line, with the same duration, route and status."""
    began = time.time()

    def enough() -> list[stores.Exemplar] | None:
        settled = time.time() - 5
        found = [exemplar for exemplar in stores.exemplars(stack.prometheus, began) if exemplar.time < settled]
        return found if len(found) >= 200 else None

    found = wait_for(enough, "200 exemplars", seconds=300, pause=2)
    unresolved = [exemplar for exemplar in found if not _resolves(stack, exemplar)]
    slow = sum(exemplar.value > 0.5 for exemplar in found)
    with capsys.disabled():
        print(f"\n{len(found)} exemplars, {slow} of them over 500 ms; unresolved: {len(unresolved)}")

    assert [] == unresolved
    assert slow


def _resolves(stack: Stack, exemplar: stores.Exemplar) -> bool:
    finished = [
        line.fields
        for line in stores.lines_of(stack.loki, exemplar.labels["trace_id"])
        if line.fields.get("event") == "request.finished" and line.fields["span_id"] == exemplar.labels["span_id"]
    ]
    if len(finished) != 1:
        return False
    (line,) = finished
    same = all(
        exemplar.series[label] in {str(line[field]), "OTHER"}
        for field, label in (("method", "method"), ("route", "route"), ("status", "status"), ("instance", "instance"))
    )
    return same and abs(line["duration_ms"] / 1000 - exemplar.value) < 0.001


def test_counters_and_lines_agree(stack: Stack) -> None:
    """The histogram has exactly one observation per `request.finished` line."""
    request_ids = [f"count-{number}" for number in range(50)]
    labels = 'job="api",route="/orders/{order_id}",status="404"'
    count = f"sum(http_request_duration_seconds_count{{{labels}}}) or vector(0)"
    before = float(stores.query(stack.prometheus, count)[0]["value"][1])
    for request_id in request_ids:
        httpx2.get(f"{stack.api}/orders/999999", headers={"X-Request-ID": request_id})

    wait_for(lambda: float(stores.query(stack.prometheus, count)[0]["value"][1]) - before == 50, "50 observations")
    query = '{service_name="api"} |= `"request_id":"count-` |= `request.finished`'

    def stored() -> bool:
        return set(request_ids) <= {line.fields["request_id"] for line in stores.lines(stack.loki, query)}

    wait_for(stored, "50 lines")


def test_many_instances_and_levels_are_few_streams(native: NativeStack | None, stack: Stack) -> None:
    """Loki accepts 500 streams. A service with more instances and levels than that does not stop other services."""
    if native is None:
        pytest.skip("writes lines of a service that does not run: run without STACK=up")
    lines = [
        {
            "timestamp": datetime.now(UTC).isoformat(),
            "service": "many",
            "instance": f"10.0.0.1:{number}",
            "level": f"level-{number}",
            "trace_id": "-",
        }
        for number in range(620)
    ]
    (native.lines / "many.jsonl").write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))

    wait_for(lambda: len(stores.lines(stack.loki, '{service_name="many"}')) == len(lines), "all lines")
    assert [{"service_name": "many"}] == stores.series(stack.loki, '{service_name="many"}')
    test_trace_id_finds_lines_of_both_services(stack)
