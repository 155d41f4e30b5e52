"""The metric for lost lines: the ratio of stored to written lines."""

import os
from collections.abc import Iterator

import httpx2
import pytest

from tests.stack import comparison, stores
from tests.stack.native import SERVICES, NativeStack
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="loses lines of a separate native stack")


@pytest.fixture
def native() -> Iterator[NativeStack]:
    """Run a separate stack, because the test loses lines."""
    with NativeStack(quick_rules=True) as started:
        stack = started.start()
        wait_for(lambda: len(stores.query(stack.prometheus, "log_records_total > 0")) >= len(SERVICES), "scrapes")
        yield started


def test_lost_lines_lower_the_ratio(native: NativeStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that are lost before Alloy reads them, for example by a log rotation, lower the ratio of their service."""
    output = native.services.output("payments")
    send_requests(native, 300)
    comparison.wait_until_settled(native.url("loki"))
    native.servers.stop("alloy")
    kept = output.read_text().count("\n")
    send_requests(native, 100)
    written = output.read_text().count("\n")
    os.truncate(output, 0)
    native.start_alloy()

    def ratios() -> dict[str, float]:
        found = stores.query(native.url("prometheus"), "job:log_lines_stored:ratio10m")
        return {each["metric"]["job"]: float(each["value"][1]) for each in found}

    share = kept / written
    wait_for(lambda: ratios().get("payments") == pytest.approx(share, abs=0.02), f"{share:.3f}", 240, pause=1)
    with capsys.disabled():
        print(f"\nof {written} lines of payments {written - kept} are lost; {ratios()}")
    assert ratios()["api"] == pytest.approx(1, abs=0.02)


def send_requests(native: NativeStack, times: int) -> None:
    """Send requests to payments, each of which writes a line."""
    for _ in range(times):
        httpx2.get(f"{native.url('payments')}/nothing")
