"""An exemplar that is six hours old, as long as Prometheus keeps them, still has its lines."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.stack import stores
from tests.stack.native import NativeStack
from tests.waiting import wait_for

HOURS = 6
OLD = "payments-old"

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="starts a service with a wrong clock")


@pytest.fixture
def native() -> Iterator[NativeStack]:
    """Run servers and a service whose clock is six hours late.

    No other payments service runs: Loki refuses lines that are hours older than the latest ones with the same labels.
    """
    found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed: run apt install libfaketime")
    with NativeStack() as started:
        started.start_loki()
        started.start_alloy()
        started.start_prometheus()
        late = {"LD_PRELOAD": str(found[0]), "FAKETIME": f"-{HOURS}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        started.start_service(OLD, late)
        started.services.wait_until_ready(OLD, f"{started.url(OLD)}/readyz")
        started.scrape(OLD, {"job_name": OLD})
        yield started


def test_old_exemplar_has_its_lines(native: NativeStack) -> None:
    """Exemplar and lines are found before and after a restart of Prometheus and Loki, which read them from disk."""
    then = time.time() - HOURS * 3600
    httpx2.get(f"{native.url(OLD)}/nothing")
    query = '{service_name="payments"}'
    instance = native.url(OLD).removeprefix("http://")

    def exemplar() -> stores.Exemplar | None:
        found = stores.exemplars(native.url("prometheus"), then - 60, then + 300)
        return next((each for each in found if each.series["instance"] == instance), None)

    def lines(trace_id: str) -> list[stores.StoredLine]:
        return stores.lines(native.url("loki"), f'{query} | trace_id="{trace_id}"', minutes=HOURS * 60 + 5)

    before = wait_for(exemplar, "the exemplar")
    # Loki writes lines to disk within two hours, and searches lines that are older than three hours only on disk.

    def flushed() -> list[stores.StoredLine]:
        httpx2.post(f"{native.url('loki')}/flush").raise_for_status()
        return lines(before.labels["trace_id"])

    wait_for(flushed, "its lines", pause=1)
    for name, start in (("loki", native.start_loki), ("prometheus", native.start_prometheus)):
        native.servers.kill(name, signal.SIGTERM)
        start()

    after = wait_for(exemplar, "the exemplar after the restart")
    assert before == after
    assert after.time == pytest.approx(then, abs=60)
    (line,) = wait_for(lambda: lines(after.labels["trace_id"]), "its lines after the restart")
    assert (after.labels["span_id"], "request.finished") == (line.fields["span_id"], line.fields["event"])
    assert after.value == pytest.approx(line.fields["duration_ms"] / 1000, abs=0.001)
