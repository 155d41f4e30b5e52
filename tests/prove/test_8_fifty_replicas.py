"""47 more replicas are started by one command, under load: the stack of docs/scaling.md."""

import time
from collections import Counter

from tests.emitted import parse
from tests.prove import engine, report
from tests.prove.conftest import Proof

_REPLICAS, _USERS, _SECONDS = 50, 20, 120
_RECORD = "/tmp/fifty.jsonl"  # noqa: S108 - in a container


def test_no_request_fails(proof: Proof) -> None:
    """All containers become and stay healthy, every request is answered, and every line is stored."""
    proof.start_load("--record", _RECORD, users=_USERS)
    began = time.monotonic()
    scale = f"api-replica={_REPLICAS - 1}"
    engine.docker("compose", "up", "--detach", "--wait", "--no-recreate", "--scale", scale, seconds=600)
    took = time.monotonic() - began
    time.sleep(_SECONDS)
    proof.stop_load()

    ids = engine.containers()
    assert {"healthy"} == set(engine.health(*ids.values()))
    assert {0} == {each["RestartCount"] for each in engine.inspect(*ids.values())}
    answers = Counter(line["status"] for line in parse(engine.execute("loadtest", "cat", _RECORD)))
    failed = answers.total() - answers[200] - answers[201]
    assert proof.compare(f"{_REPLICAS - 3} replicas are added, at {_USERS} requests/s").equal
    proof.report.row(report.FIGURES, f"{_REPLICAS - 3} replicas are added to three, until healthy", f"{took:.1f} s")
    proof.report.row(report.FIGURES, "the same: requests that failed", f"{failed} of {answers.total():,}")
    assert failed == 0
