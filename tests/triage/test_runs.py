"""The folder of a load run: its measurements are exact."""

from pathlib import Path

import pytest

from tests.triage.fake_runs import fake_run, run_line
from tests.triage.fake_service import RUN, T0
from triage.errors import StoreError
from triage.stores.runs import Latencies, RunFolder


@pytest.mark.parametrize("workers", [1, 2])
def test_latencies_are_exact(tmp_path: Path, workers: int) -> None:
    """Quantiles are measured values by the nearest rank, overall and by route; the slowest and failed are listed."""
    run = fake_run(seconds=2, rate=50, workers=workers)
    by_number = {int(line["request_id"].rpartition("-")[2]): line for line in run.requests}
    for number, line in by_number.items():
        line.update(client_ms=number + 1.0, status={1: None, 2: 503, 3: 404}.get(number, 200))
    found = RunFolder(run.write(tmp_path)).measurements(RUN, slowest=3, failed=1)

    assert Latencies(100, 2, 50, 95, 99, 100) == found.overall
    assert {
        "POST /orders": Latencies(10, 0, 41, 91, 91, 91),
        "GET /users/{user_id}": Latencies(90, 2, 50, 96, 100, 100),
    } == found.routes
    assert [100, 99, 98] == [each.sent.client_ms for each in found.slowest]
    assert [by_number[1]["request_id"]] == [each.sent.request_id for each in found.failed]


def test_plan_and_generators(tmp_path: Path) -> None:
    """Each generator has the CPU usage of its busiest five seconds, and whether it stopped normally."""
    run = fake_run(workers=3)
    for second, cpu in enumerate([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]):
        run.samples[1][second + 4]["cpu"] = cpu
    run.samples[2][0]["cpu"] = 0.95  # a single second
    folder = RunFolder(run.write(tmp_path, lost=(2,)))
    plan = folder.plan()
    assert ("open", 20, 50, 3, False) == (plan.loop, plan.seconds, plan.rate, plan.workers, plan.interrupted)
    assert (T0 - 1, T0 + 21) == (plan.began, plan.ended)
    found = [(each.worker, each.cpu and round(each.cpu, 6), each.stopped) for each in folder.generators(RUN)]
    assert [("0", 0.2, True), ("1", 1.0, True), ("2", 0.35, False)] == found


def test_folders_without_a_run(tmp_path: Path) -> None:
    """A folder of other lines, and a run without a complete plan, are errors."""
    (tmp_path / "a.jsonl").write_text("{}\nHello\n")
    with pytest.raises(StoreError, match=r"There is no run.started line in .*: name the folder of a run\."):
        RunFolder(tmp_path).plan()
    run = fake_run()
    run.started["rate"] = 0
    with pytest.raises(StoreError, match="lacks the planned seconds, rate or workers"):
        RunFolder(run.write(tmp_path)).plan()


def test_lines_of_other_runs_are_ignored(tmp_path: Path) -> None:
    """Requests and generators of other runs in the same files are not counted."""
    run = fake_run()
    run.sent[0].append(run.sent[0][0] | {"run": "other", "client_ms": 9e9})
    run.samples[0].append(run_line(T0, "generator.sampled", "other", worker=0, cpu=9.0))
    folder = RunFolder(run.write(tmp_path))
    overall = folder.measurements(RUN, 1, 1).overall
    assert overall
    assert (1000, True) == (overall.requests, overall.max_ms < 1000)
    assert [0.2] == [each.cpu and round(each.cpu, 6) for each in folder.generators(RUN)]
