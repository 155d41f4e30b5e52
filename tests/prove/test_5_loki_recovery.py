"""After a Loki outage of ten minutes, all lines are stored, and every exemplar has its line."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.emitted import Line
from tests.prove import engine, report
from tests.prove.conftest import OUTAGE, USERS, Proof, lines_of
from tests.stack import stores
from tests.waiting import wait_for

_MAX_EXEMPLARS = 260_000  # `max_exemplars` of prometheus.yml
_HOURS = 6


@pytest.fixture(scope="module")
def finished() -> dict[str, Line]:
    """Return a dictionary for the stored `request.finished` lines by span id, which the first test fills."""
    return {}


def test_all_lines_are_stored(proof: Proof, finished: dict[str, Line]) -> None:
    """Lines from the time of the outage are stored afterwards: none is missing or stored twice."""
    time.sleep(max(0, OUTAGE - (time.monotonic() - proof.loki_killed)))
    container = engine.containers("loki")["loki-1"]
    engine.docker("start", container)
    engine.wait_for_health([container], "healthy")
    time.sleep(5)
    proof.stop_load()

    def collect(line: str) -> None:
        if '"event":"request.finished"' in line:
            fields = json.loads(line)
            finished[fields["span_id"]] = fields

    result = proof.compare(f"Loki is down for {OUTAGE} s, and other containers are killed", collect)
    assert result.equal
    assert result.written > OUTAGE * USERS


def test_every_exemplar_has_its_line(proof: Proof, finished: dict[str, Line]) -> None:
    """Exemplars and lines of all replicas and payments have the same trace, instance and duration."""
    found = [
        each for each in stores.exemplars(proof.stack.prometheus, proof.load_started) if each.time < time.time() - 20
    ]
    unmatched = [each for each in found if not stores.matches(each, finished.get(each.labels["span_id"]))]
    instances = Counter(each.series["instance"] for each in found)
    proof.report.row(
        report.FIGURES,
        f"exemplars of {len(instances)} instances without a matching line",
        f"{len(unmatched)} of {len(found):,}",
    )
    assert [] == unmatched
    assert len(instances) >= 4

    minutes = (time.time() - proof.load_started) / 60
    expected = len(found) / minutes * 60 * _HOURS
    proof.report.row(
        report.FIGURES, f"exemplars in {_HOURS} hours of this load (storage: {_MAX_EXEMPLARS:,})", f"{expected:,.0f}"
    )
    assert expected < _MAX_EXEMPLARS


def test_counters_match_the_lines(proof: Proof) -> None:
    """Replicas that were not killed counted exactly the lines that they wrote, under the same instance name."""
    names = ("api-1", "api-replica-2", "payments-1")

    def counted() -> dict[str, int]:
        found = stores.query(proof.stack.prometheus, "sum by (instance) (log_records_total)")
        return {each["metric"]["instance"]: int(each["value"][1]) for each in found}

    def written() -> dict[str, int]:
        files = {file.name.partition("-")[2]: file for file in proof.save_lines()}
        lines = (line for name in names for line in lines_of(files[f"{name}.jsonl"]))
        return dict(Counter(line.partition('"instance":"')[2].partition('"')[0] for line in lines))

    # A slow health check writes a line even without load, so the counts may differ for a moment.
    wait_for(lambda: (lines := written()).items() <= counted().items() and len(lines) == len(names), "equal counts", 60)


def test_reconcile_finds_unlogged_requests(proof: Proof) -> None:
    """Only requests that were in flight at the killed replica have no line."""
    record = proof.folder / "sent.jsonl"
    record.write_text(engine.execute("loadtest", "cat", "/tmp/sent.jsonl"))  # noqa: S108
    files = [record, *proof.folder.glob(f"{proof.load_started:.0f}-api*.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "triage", "reconcile", "--json", *(f"--jsonl={file}" for file in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    sent_requests = json.loads(done.stdout)["sent"]
    sent = sum(row["sent"] for row in sent_requests["rows"])
    unlogged = [*sent_requests["unknown"], *sent_requests["never_arrived"]]
    answered = {
        line["request_id"] for line in map(json.loads, record.read_text().splitlines()) if line["status"] is not None
    }
    interrupted = answered.intersection(sent_requests["unknown"])
    proof.report.row(
        report.FIGURES,
        f"a replica is killed; requests without a line, of {sent:,}",
        f"{len(unlogged)}, of them with a response: {len(interrupted)}",
    )
    # The number of requests in flight is random, and may be 0.
    assert [] == sent_requests["differences"]
