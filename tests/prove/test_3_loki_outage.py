"""Start of a Loki outage of ten minutes under load; test_4_kills.py runs during the outage."""

import time

from tests.prove import engine
from tests.prove.conftest import Proof


def test_loki_is_killed(proof: Proof) -> None:
    """Loki is killed while the load is running."""
    proof.start_load("--record", "/tmp/sent.jsonl")  # noqa: S108 - in the container
    time.sleep(15)
    engine.docker("kill", "--signal", "KILL", engine.containers("loki")["loki-1"])
    proof.loki_killed = time.monotonic()
