"""What carries lines is killed five times each under load, and Loki is away for a minute: no line is lost."""

import time

from tests.prove import engine, report
from tests.prove.conftest import Proof


def test_whoever_is_killed(proof: Proof) -> None:
    """Alloy and Grafana, then Loki and the proxy, five times."""
    ids = engine.containers("alloy", "grafana", "loki", "docker-socket-proxy")
    took: dict[str, list[float]] = {name: [] for name in ids}
    proof.start_load()
    time.sleep(10)
    for _ in range(5):
        for pair in (("alloy-1", "grafana-1"), ("loki-1", "docker-socket-proxy-1")):
            for name, seconds in zip(pair, engine.kill_and_start(*(ids[name] for name in pair)), strict=True):
                took[name].append(seconds)
    for name, times in took.items():
        proof.report.row(report.KILLS, name.removesuffix("-1"), len(times), max(times))

    engine.docker("kill", "--signal", "KILL", ids["loki-1"])
    time.sleep(30)
    # What it has read, and could not send, is up to 10 MiB.
    engine.docker("kill", "--signal", "KILL", ids["alloy-1"])
    engine.docker("start", ids["alloy-1"])
    time.sleep(30)
    engine.docker("start", ids["loki-1"])
    engine.become([ids["loki-1"], ids["alloy-1"]], "healthy")
    time.sleep(3)
    proof.stop_load()
    what = "alloy, grafana, loki and the proxy are killed five times each, then Loki is away for 60 s"
    found = proof.compared(f"{what}, and Alloy killed meanwhile")
    assert found.equal
