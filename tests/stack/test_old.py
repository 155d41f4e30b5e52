"""A dot of six hours ago, which is as long as Prometheus keeps exemplars, still opens its lines."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.stack import stores
from tests.stack.native import NativeStack
from tests.waiting import eventually

HOURS = 6
OLD = "payments-old"

pytestmark = pytest.mark.skipif(
    os.environ.get("STACK") == "up", reason="starts a service whose clock is six hours late"
)


@pytest.fixture
def native() -> Iterator[NativeStack]:
    """Run a stack in which one service lives six hours ago: its clock is late, and nobody else's."""
    found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not here; apt install libfaketime")
    with NativeStack() as started:
        started.start()
        late = {"LD_PRELOAD": str(found[0]), "FAKETIME": f"-{HOURS}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        started.start_service(OLD, late)
        started.services.answers(OLD, f"{started.url(OLD)}/readyz")
        started.scrape(OLD, {"job_name": OLD})
        yield started


def test_a_dot_of_six_hours_ago_opens_its_lines(native: NativeStack) -> None:
    """Also after Prometheus and Loki began again, so that both had to read it back from their disks."""
    then = time.time() - HOURS * 3600
    httpx2.get(f"{native.url(OLD)}/nothing")
    query = f'{{service_name="payments",instance="{native.url(OLD).removeprefix("http://")}"}}'

    def exemplar() -> stores.Exemplar | None:
        found = stores.exemplars(native.url("prometheus"), then - 60, then + 300)
        return next((each for each in found if each.series["instance"] in query), None)

    def lines(trace_id: str) -> list[stores.StoredLine]:
        return stores.lines(native.url("loki"), f'{query} | trace_id="{trace_id}"', minutes=HOURS * 60 + 5)

    before = eventually(exemplar, "the exemplar")
    # Lines are written to the disk after two hours at most, and Loki looks for those of three hours ago there only.

    def flushed() -> list[stores.StoredLine]:
        httpx2.post(f"{native.url('loki')}/flush").raise_for_status()
        return lines(before.labels["trace_id"])

    eventually(flushed, "its lines", pause=1)
    for name, start in (("loki", native.start_loki), ("prometheus", native.start_prometheus)):
        native.servers.kill(name, signal.SIGTERM)
        start()

    dot = eventually(exemplar, "the exemplar, read back")
    assert before == dot
    assert dot.time == pytest.approx(then, abs=60)
    (line,) = eventually(lambda: lines(dot.labels["trace_id"]), "its lines, read back")
    assert (dot.labels["span_id"], "request.finished") == (line.fields["span_id"], line.fields["event"])
    assert dot.value == pytest.approx(line.fields["duration_ms"] / 1000, abs=0.001)
