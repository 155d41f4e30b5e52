"""Health tells the truth: who cannot do its own work is unhealthy within 30 s, does not restart, and comes back."""

import pytest

from tests.prove import engine, report
from tests.prove.conftest import Proof

# What hangs together, and who is cut off by it. Those of one row have nothing to do with each other.
GROUPS = [
    {"docker-socket-proxy": ["alloy"], "grafana": [], "loadtest": []},
    {"alloy": [], "prometheus": ["grafana"], "payments": ["api", "api-replica"]},
    {"postgres": ["api", "api-replica"], "loki": ["alloy", "grafana"]},
    {"api": [], "api-replica": []},
]


@pytest.mark.parametrize("hanging", GROUPS, ids="+".join)
def test_what_hangs_is_unhealthy_and_comes_back(hanging: dict[str, list[str]], proof: Proof) -> None:
    """SIGSTOP: the process is there, the port is open, and nobody answers."""
    ids = engine.containers()
    engine.become(list(ids.values()), "healthy")
    firsts = {name: f"{name}-1" for name in _services(ids)}
    frozen = [ids[firsts[name]] for name in hanging]
    affected = {**dict.fromkeys(hanging), **{name: None for cut in hanging.values() for name in cut}}
    watched = [ids[firsts[name]] for name in affected]

    engine.signal("STOP", *frozen)
    try:
        fell = engine.become(watched, "unhealthy")
        # The tour tells of all of them, and soon is unhealthy, too; when, is its own matter.
        others = {key: name for key, name in ids.items() if name not in watched and not key.startswith(("api", "tour"))}
        assert dict.fromkeys(others, "healthy") == dict(zip(others, engine.health(*others.values()), strict=True))
    finally:
        engine.signal("CONT", *frozen)
    rose = engine.become(watched, "healthy")

    times = dict(zip(affected, zip(fell, rose, strict=True), strict=True))
    for name, cut in hanging.items():
        for who in (name, *cut):
            proof.report.row(report.HEALTH, name, who if who != name else "itself", *times[who])
    assert max(fell) <= 30 or not report.calm()
    assert {0} == {each["RestartCount"] for each in engine.inspected(*ids.values())}


def _services(ids: dict[str, str]) -> list[str]:
    """Return the names of the services of containers."""
    return sorted({name.rpartition("-")[0] for name in ids})
