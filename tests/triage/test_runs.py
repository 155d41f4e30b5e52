"""The folder of a load run: its measurements are exact."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.triage.fake_runs import fake_run, run_line
from tests.triage.fake_service import RUN, T0, Line
from triage.errors import StoreError
from triage.stores.runs import Latencies, RunFolder


def nearest_rank(lines: list[Line]) -> Latencies:
    values = sorted(line["client_ms"] for line in lines)
    p50, p95, p99, highest = (values[-(-len(values) * percent // 100) - 1] for percent in (50, 95, 99, 100))
    failures = sum(1 for line in lines if line["status"] is None or line["status"] >= 500)
    return Latencies(len(lines), failures, p50, p95, p99, highest)


@pytest.mark.parametrize(("seconds", "workers"), [(1, 1), (3, 2), (20, 2)])
def test_latencies_are_exact(tmp_path: Path, seconds: int, workers: int) -> None:
    """Quantiles are measured values by the nearest rank, overall and by route; the slowest and failed are listed."""
    run = fake_run(seconds=seconds, rate=51, workers=workers)
    for number, line in enumerate(run.requests):
        line["status"] = {1: None, 2: 503, 3: 404}.get(number, 200)
    routes: dict[str, list[Line]] = defaultdict(list)
    for line in run.requests:
        routes[f"{line['method']} {line['route']}"].append(line)
    found = RunFolder(run.write(tmp_path)).measurements(RUN, 10, 1)
    assert nearest_rank(run.requests) == found.overall
    assert {name: nearest_rank(lines) for name, lines in routes.items()} == found.routes
    succeeded = [line for line in run.requests if line["status"] in {200, 404}]
    slowest = sorted((line["client_ms"] for line in succeeded), reverse=True)[:10]
    assert slowest == [each.sent.client_ms for each in found.slowest]
    first_failed = min((line for line in run.requests if line not in succeeded), key=lambda line: line["timestamp"])
    assert [first_failed["request_id"]] == [each.sent.request_id for each in found.failed]


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
