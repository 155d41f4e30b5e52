"""Kill other parts during the Loki outage: Prometheus, a replica and the database."""

import time

import httpx2

from tests.prove import engine, report
from tests.prove.conftest import Proof
from tests.services import unavailable
from tests.waiting import wait_for


def test_prometheus_is_killed(proof: Proof) -> None:
    """Prometheus recovers from five kills."""
    container = engine.containers("prometheus")["prometheus-1"]
    took = [engine.kill_and_start(container)[0] for _ in range(5)]
    proof.report.row(report.KILLS, "prometheus", 5, max(took))


def test_a_replica_is_killed(proof: Proof) -> None:
    """A replica recovers from a kill under load; test_5_loki_recovery.py checks its lines with `triage reconcile`."""
    took = engine.kill_and_start(engine.containers("api-replica")["api-replica-1"])
    proof.report.row(report.KILLS, "api-replica", 1, took[0])


def test_the_database_is_killed(proof: Proof) -> None:
    """Without the database, responses are 503 with a trace id; the service recovers within 5 s after the database."""
    url = f"{proof.stack.api}/users/17"
    container = engine.containers("postgres")["postgres-1"]
    engine.docker("kill", "--signal", "KILL", container)
    response = wait_for(lambda: unavailable(url), "a 503")
    assert "application/problem+json" == response.headers["content-type"]
    assert response.json()["detail"]
    assert response.headers["x-trace-id"] in response.text

    engine.docker("start", container)
    wait_for(lambda: "accepting" in _database_status(container), "PostgreSQL", pause=0.2)
    began = time.monotonic()
    wait_for(lambda: httpx2.get(url, timeout=20).status_code == 200, "the service")
    took = time.monotonic() - began
    engine.wait_for_health([container, *engine.containers("api", "api-replica").values()], "healthy")
    proof.report.row(report.KILLS, "postgres (the service answers 503, with ids)", 1, took)
    assert took < 5 or not report.is_idle()


def _database_status(container: str) -> str:
    try:
        return engine.docker("exec", container, "pg_isready", "--username=app")
    except AssertionError:
        return ""  # not yet
