"""Killed while Loki is away: what carries no lines, a replica, and the database."""

import time

import httpx2

from tests.prove import engine, report
from tests.prove.conftest import Proof
from tests.services import unavailable
from tests.waiting import eventually


def test_prometheus_is_killed(proof: Proof) -> None:
    """Five times; it comes back with what it had."""
    container = engine.containers("prometheus")["prometheus-1"]
    took = [engine.kill_and_start(container)[0] for _ in range(5)]
    proof.report.row(report.KILLS, "prometheus", 5, max(took))


def test_a_replica_is_killed(proof: Proof) -> None:
    """The load goes on; `triage reconcile` is asked when Loki is back."""
    took = engine.kill_and_start(engine.containers("api-replica")["api-replica-1"])
    proof.report.row(report.KILLS, "api-replica", 1, took[0])


def test_the_database_is_killed(proof: Proof) -> None:
    """Clear 503s with an id, and five seconds after it is back the service is, too."""
    url = f"{proof.stack.api}/users/17"
    container = engine.containers("postgres")["postgres-1"]
    engine.docker("kill", "--signal", "KILL", container)
    answer = eventually(lambda: unavailable(url), "a 503")
    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.json()["detail"]
    assert answer.headers["x-trace-id"] in answer.text

    engine.docker("start", container)
    eventually(lambda: "accepting" in _asked(container), "PostgreSQL", pause=0.2)
    began = time.monotonic()
    eventually(lambda: httpx2.get(url, timeout=20).status_code == 200, "the service")
    took = time.monotonic() - began
    engine.become([container, *engine.containers("api", "api-replica").values()], "healthy")
    proof.report.row(report.KILLS, "postgres (the service answers 503, with ids)", 1, took)
    assert took < 5 or not report.calm()


def _asked(container: str) -> str:
    try:
        return engine.docker("exec", container, "pg_isready", "--username=app")
    except AssertionError:
        return ""  # not yet
