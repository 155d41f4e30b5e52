"""A clock that steps back, as after the time of a machine was corrected."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.app.faults import FAULT_HEADERS, start_fault
from tests.processes import Processes
from tests.services import Service, running
from tests.waiting import wait_for


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    """Return the file with the difference to the real time."""
    return tmp_path / "clock"


@pytest.fixture
def service(processes: Processes, payments: Service, clock_file: Path) -> Iterator[Service]:
    """Run a service whose clock is an hour fast, but not its monotonic clock, which cannot be set."""
    found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed: run apt install libfaketime")
    clock_file.write_text("+1h\n")
    settings = {
        "FAULTS": "on",
        "PAYMENTS_URL": payments.url,
        "DATABASE_URL": f"sqlite:///{clock_file.parent}/tested.db",
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running(processes, "api", settings, "api-clock") as started:
        yield started


def hours_ahead(line: dict[str, str]) -> float:
    return (datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)) / timedelta(hours=1)


def test_lines_and_faults_after_a_step_back(service: Service, clock_file: Path) -> None:
    """New lines and trace ids have the corrected time, durations are not negative, and a fault does not last longer."""
    fault = start_fault(service, users=[7], delay_ms=10, seconds=600)
    before = service.finished(service.client.get("/users/7").headers["x-trace-id"])
    clock_file.write_text("+0\n")
    after = service.finished(service.client.get("/users/7").headers["x-trace-id"])

    assert hours_ahead(before) == pytest.approx(1, abs=0.1)
    assert hours_ahead(after) == pytest.approx(0, abs=0.1)
    assert int(after["trace_id"][:12], 16) / 1000 == pytest.approx(time.time(), abs=360)
    assert 0 < after["duration_ms"] < 60_000
    assert "slow-query" == before["fault_active"]
    assert "fault_active" not in after
    wait_for(lambda: [] == service.client.get("/faults", headers=FAULT_HEADERS).json(), "the end of the fault")
    service.event("fault.ended", fault_id=fault["id"])
