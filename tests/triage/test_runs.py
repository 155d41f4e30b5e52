"""What the folder of a run tells: exactly what was written into it."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.triage.emitting import RUN, T0, Line
from tests.triage.running import about, running
from triage.measured import Latencies
from triage.stores import StoreError
from triage.stores.runs import RunFolder


def exact(lines: list[Line]) -> Latencies:
    """Reckon in plain Python, with whole numbers: the smallest value that so many percent are not above."""
    values = sorted(line["client_ms"] for line in lines)
    p50, p95, p99, most = (values[-(-len(values) * percent // 100) - 1] for percent in (50, 95, 99, 100))
    failures = sum(1 for line in lines if line["status"] is None or line["status"] >= 500)
    return Latencies(len(lines), failures, p50, p95, p99, most)


@pytest.mark.parametrize(("seconds", "workers"), [(1, 1), (3, 2), (20, 2)])
def test_exact_latencies(tmp_path: Path, seconds: int, workers: int) -> None:
    """Quantiles are values that were measured, overall and by route, as sorting finds them."""
    run = running(seconds=seconds, rate=51, workers=workers)
    for number, line in enumerate(run.requests):
        line["status"] = {1: None, 2: 503, 3: 404}.get(number, 200)
    routes: dict[str, list[Line]] = defaultdict(list)
    for line in run.requests:
        routes[f"{line['method']} {line['route']}"].append(line)
    found = RunFolder(run.write(tmp_path)).measured(RUN, 10, 1)
    assert exact(run.requests) == found.overall
    assert {name: exact(lines) for name, lines in routes.items()} == found.routes
    well = [line for line in run.requests if line["status"] in {200, 404}]
    slowest = sorted((line["client_ms"] for line in well), reverse=True)[:10]
    assert slowest == [timed.sent.client_ms for timed in found.slowest]
    assert [None if each.sent.status is None else int(each.sent.status) for each in found.failed] == [
        min((line for line in run.requests if line not in well), key=lambda line: line["timestamp"])["status"]
    ]


def test_facts_and_generators(tmp_path: Path) -> None:
    """The worst five seconds of each generator, and whether it ended in good order."""
    run = running(workers=3)
    for second, cpu in enumerate([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]):
        run.samples[1][second + 4]["cpu"] = cpu
    run.samples[2][0]["cpu"] = 0.95  # alone, it is no five seconds
    folder = RunFolder(run.write(tmp_path, lost=(2,)))
    facts = folder.facts()
    assert ("open", 20, 50, 3, False) == (facts.loop, facts.seconds, facts.rate, facts.workers, facts.interrupted)
    assert (T0 - 1, T0 + 21) == (facts.began, facts.ended)
    told = [(each.worker, each.cpu and round(each.cpu, 6), each.stopped) for each in folder.generators(RUN)]
    assert [("0", 0.2, True), ("1", 1.0, True), ("2", 0.35, False)] == told


def test_no_run(tmp_path: Path) -> None:
    """A folder of other lines, and a run that does not say what it was to be, are a sentence."""
    (tmp_path / "a.jsonl").write_text("{}\nHello\n")
    with pytest.raises(StoreError, match=r"No line run.started in .*: name the folder of a run\."):
        RunFolder(tmp_path).facts()
    run = running()
    run.started["rate"] = 0
    with pytest.raises(StoreError, match="does not say what was planned"):
        RunFolder(run.write(tmp_path)).facts()


def test_another_run_in_the_same_files(tmp_path: Path) -> None:
    """What other runs left is not counted."""
    run = running()
    run.sent[0].append(run.sent[0][0] | {"run": "other", "client_ms": 9e9})
    run.samples[0].append(about(T0, "generator.sampled", "other", worker=0, cpu=9.0))
    folder = RunFolder(run.write(tmp_path))
    overall = folder.measured(RUN, 1, 1).overall
    assert overall
    assert (1000, True) == (overall.requests, overall.max_ms < 1000)
    assert [0.2] == [each.cpu and round(each.cpu, 6) for each in folder.generators(RUN)]
