"""Health checks: a service that cannot do its work is unhealthy within 30 s, does not restart, and recovers."""

import pytest

from tests.prove import engine, report
from tests.prove.conftest import Proof

# The services that are frozen together, and those that depend on them. Services in one row are independent.
GROUPS = [
    {"docker-socket-proxy": ["alloy"], "grafana": [], "loadtest": []},
    {"alloy": [], "prometheus": ["gateway", "grafana"], "payments": ["api", "api-replica"]},
    {"postgres": ["api", "api-replica"], "loki": ["alloy", "gateway", "grafana"]},
    {"api": [], "api-replica": [], "gateway": ["grafana"]},
]


@pytest.mark.parametrize("group", GROUPS, ids="+".join)
def test_frozen_service_is_unhealthy_and_recovers(group: dict[str, list[str]], proof: Proof) -> None:
    """After SIGSTOP, a process still exists and its port is open, but it does not respond."""
    ids = engine.containers()
    engine.wait_for_health(list(ids.values()), "healthy")
    firsts = {name: f"{name}-1" for name in _services(ids)}
    frozen = [ids[firsts[name]] for name in group]
    affected = {**dict.fromkeys(group), **{name: None for dependents in group.values() for name in dependents}}
    watched = [ids[firsts[name]] for name in affected]

    engine.signal("STOP", *frozen)
    try:
        failed_after = engine.wait_for_health(watched, "unhealthy")
        # The tour checks all services, so it becomes unhealthy, too, at any time.
        others = {key: name for key, name in ids.items() if name not in watched and not key.startswith(("api", "tour"))}
        assert dict.fromkeys(others, "healthy") == dict(zip(others, engine.health(*others.values()), strict=True))
    finally:
        engine.signal("CONT", *frozen)
    recovered_after = engine.wait_for_health(watched, "healthy")

    times = dict(zip(affected, zip(failed_after, recovered_after, strict=True), strict=True))
    for name, dependents in group.items():
        for service in (name, *dependents):
            proof.report.row(report.HEALTH, name, service if service != name else "itself", *times[service])
    assert max(failed_after) <= 30 or not report.is_idle()
    assert {0} == {each["RestartCount"] for each in engine.inspect(*ids.values())}


def _services(ids: dict[str, str]) -> list[str]:
    """Return the service names of containers."""
    return sorted({name.rpartition("-")[0] for name in ids})
