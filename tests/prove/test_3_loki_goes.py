"""Loki goes away for ten minutes, under load; what else is killed meanwhile is in the next file."""

import time

from tests.prove import engine
from tests.prove.conftest import Proof


def test_loki_goes(proof: Proof) -> None:
    """The load runs for a while, then Loki is killed."""
    proof.start_load("--record", "/tmp/sent.jsonl")  # noqa: S108 - of the container
    time.sleep(15)
    engine.docker("kill", "--signal", "KILL", engine.containers("loki")["loki-1"])
    proof.gone = time.monotonic()
