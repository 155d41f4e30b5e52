"""Loki is back after ten minutes: every line is there, and every dot of those minutes leads to its line."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.emitted import Line
from tests.prove import engine, report
from tests.prove.conftest import AWAY, USERS, Proof, lines_of
from tests.stack import stores
from tests.waiting import eventually

_RING = 260_000  # `max_exemplars` of prometheus.yml
_HOURS = 6


@pytest.fixture(scope="module")
def finished() -> dict[str, Line]:
    """Keep the stored lines of finished requests, by their spans."""
    return {}


def test_all_lines_are_there(proof: Proof, finished: dict[str, Line]) -> None:
    """What was written while Loki was away came afterwards: 0 missing, 0 twice."""
    time.sleep(max(0, AWAY - (time.monotonic() - proof.gone)))
    container = engine.containers("loki")["loki-1"]
    engine.docker("start", container)
    engine.become([container], "healthy")
    time.sleep(5)
    proof.stop_load()

    def note(line: str) -> None:
        if '"event":"request.finished"' in line:
            fields = json.loads(line)
            finished[fields["span_id"]] = fields

    found = proof.compared(f"Loki is away for {AWAY} s, and others are killed", note)
    assert found.equal
    assert found.written > AWAY * USERS


def test_every_dot_leads_to_its_line(proof: Proof, finished: dict[str, Line]) -> None:
    """Of three replicas and payments: same trace, same instance, and the duration to the millisecond."""
    found = [each for each in stores.exemplars(proof.stack.prometheus, proof.began) if each.time < time.time() - 20]
    dead = [each for each in found if not _leads(each, finished.get(each.labels["span_id"]))]
    instances = Counter(each.series["instance"] for each in found)
    proof.report.row(
        report.FIGURES, f"exemplars of {len(instances)} instances that lead nowhere", f"{len(dead)} of {len(found):,}"
    )
    assert [] == dead
    assert len(instances) >= 4

    minutes = (time.time() - proof.began) / 60
    kept = len(found) / minutes * 60 * _HOURS
    proof.report.row(
        report.FIGURES, f"exemplars in {_HOURS} hours of this load, of {_RING:,} that are kept", f"{kept:,.0f}"
    )
    assert kept < _RING


def _leads(exemplar: stores.Exemplar, line: Line | None) -> bool:
    if line is None:
        return False
    same = (line["trace_id"], line["instance"], line["service"]) == (
        exemplar.labels["trace_id"], exemplar.series["instance"], exemplar.series["job"],
    )  # fmt: skip
    return same and abs(line["duration_ms"] / 1000 - exemplar.value) < 0.001


def test_counters_add_up(proof: Proof) -> None:
    """What the replicas that were not killed counted is what they wrote, and `instance` is the same word in both."""
    names = ("api-1", "api-replica-2", "payments-1")

    def counted() -> dict[str, int]:
        found = stores.query(proof.stack.prometheus, "sum by (instance) (log_records_total)")
        return {each["metric"]["instance"]: int(each["value"][1]) for each in found}

    def written() -> dict[str, int]:
        files = {file.name.partition("-")[2]: file for file in proof.save()}
        lines = (line for name in names for line in lines_of(files[f"{name}.jsonl"]))
        return dict(Counter(line.partition('"instance":"')[2].partition('"')[0] for line in lines))

    # A health check that took too long makes a line, also without load.
    eventually(lambda: (ours := written()).items() <= counted().items() and len(ours) == len(names), "equal counts", 60)


def test_reconcile_says_how_many(proof: Proof) -> None:
    """The replica that was killed: only requests in flight have no line."""
    record = proof.folder / "sent.jsonl"
    record.write_text(engine.inside("loadtest", "cat", "/tmp/sent.jsonl"))  # noqa: S108
    files = [record, *proof.folder.glob(f"{proof.began:.0f}-api*.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "triage", "reconcile", "--json", *(f"--jsonl={file}" for file in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)["sent"]
    sent = sum(row["sent"] for row in told["rows"])
    unlogged = [*told["unknown"], *told["never_arrived"]]
    answered = {
        line["request_id"] for line in map(json.loads, record.read_text().splitlines()) if line["status"] is not None
    }
    cut = answered.intersection(told["unknown"])
    proof.report.row(
        report.FIGURES,
        f"a replica is killed; of {sent:,} requests `triage reconcile` does not know",
        f"{len(unlogged)}, of them answered: {len(cut)}",
    )
    # How many were in flight is chance, and may be none.
    assert [] == told["differences"]
