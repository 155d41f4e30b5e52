"""What no component of the pipeline knows: how many of the lines that were written are stored."""

import os
from collections.abc import Iterator

import httpx2
import pytest

from tests.stack import sets, stores
from tests.stack.native import SERVICES, NativeStack
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="loses lines of a native stack of its own")


@pytest.fixture
def native() -> Iterator[NativeStack]:
    """Run a stack that nobody else uses."""
    with NativeStack(hurry=True) as started:
        stack = started.start()
        eventually(lambda: len(stores.query(stack.prometheus, "log_records_total > 0")) >= len(SERVICES), "scrapes")
        yield started


def test_lines_that_never_came_show(native: NativeStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are lost where no component sees it, as by a rotation: the ratio of their service says how many."""
    output = native.services.output("payments")
    ask(native, 300)
    sets.settled(native.url("loki"))
    native.servers.stop("alloy")
    kept = output.read_text().count("\n")
    ask(native, 100)
    written = output.read_text().count("\n")
    os.truncate(output, 0)
    native.start_alloy()

    def ratios() -> dict[str, float]:
        found = stores.query(native.url("prometheus"), "job:log_lines_stored:ratio10m")
        return {each["metric"]["job"]: float(each["value"][1]) for each in found}

    share = kept / written
    eventually(lambda: ratios().get("payments") == pytest.approx(share, abs=0.02), f"{share:.3f}", 240, pause=1)
    with capsys.disabled():
        print(f"\nof {written} lines of payments {written - kept} are lost; {ratios()}")
    assert ratios()["api"] == pytest.approx(1, abs=0.02)


def ask(native: NativeStack, times: int) -> None:
    """Ask payments for something that makes a line."""
    for _ in range(times):
        httpx2.get(f"{native.url('payments')}/nothing")
