"""Kill each part of the log pipeline five times under load, then stop Loki for a minute: no line is lost."""

import time

from tests.prove import engine, report
from tests.prove.conftest import Proof


def test_pipeline_is_killed(proof: Proof) -> None:
    """No lines are lost when Alloy, Grafana, Loki and the proxy are killed."""
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
    # At this point, Alloy has read up to 10 MiB that it could not send.
    engine.docker("kill", "--signal", "KILL", ids["alloy-1"])
    engine.docker("start", ids["alloy-1"])
    time.sleep(30)
    engine.docker("start", ids["loki-1"])
    engine.wait_for_health([ids["loki-1"], ids["alloy-1"]], "healthy")
    time.sleep(3)
    proof.stop_load()
    scenario = "alloy, grafana, loki and the proxy are killed five times each, then Loki is down for 60 s"
    assert proof.compare(f"{scenario} and Alloy is killed").equal
