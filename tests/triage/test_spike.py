"""A spike is found in the metrics alone."""

import math
from typing import Any

import pytest

from tests.triage.emitting import T0
from tests.triage.incidents import Incident, run
from tests.triage.memory import MemoryStore, at
from triage.histograms import quantile, quantiles
from triage.model import Scrape, Window
from triage.spike import Spike, find_spike, largest

SEEDS = range(20)


def scrapes(incident: Incident) -> list[Scrape]:
    return list(MemoryStore(incident.lines).scrapes("api"))


def found(incident: Incident) -> Spike:
    spike = find_spike(scrapes(incident))
    assert spike is not None
    return spike


def first_slow(incident: Incident) -> float:
    """Return when the first request arrived that suffered the fault."""
    slow = [line for line in incident.lines if line.get("duration_ms", 0) > 500]
    return min(float(then) for line in slow if (then := at(line) - line["duration_ms"] / 1000) >= incident.start)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"replicas": 3}, {"restart": True}, {"warm_up": 3}, {"rate": 50}],
    ids=str,
)
def test_when_it_was(seed: int, options: dict[str, Any]) -> None:
    """It begins within a scrape of the arrival of the first request that was slow, and ends with the last."""
    incident = run(seed, **options)
    spike = found(incident)
    assert first_slow(incident) == pytest.approx(spike.start, abs=1.1)
    assert incident.end == pytest.approx(spike.end, abs=8)
    assert set(spike.exemplars) <= {each for scrape in scrapes(incident) for histogram in scrape.series.values()
                                    for each in histogram.exemplars.values() if each.value > 0.5}  # fmt: skip
    assert len(spike.exemplars) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_among_others(seed: int) -> None:
    """A slow request of another kind just before it is taken for its first, and no more than that."""
    incident = run(seed, background=0.002)
    assert incident.start == pytest.approx(found(incident).start, abs=20)
    assert incident.end == pytest.approx(found(incident).end, abs=12)


@pytest.mark.parametrize("seed", range(5))
def test_without_exemplars(seed: int) -> None:
    """The scrapes alone tell it to the second in which the first slow request was finished."""
    incident = run(seed, exemplars=False)
    assert first_slow(incident) + 2 == pytest.approx(found(incident).start, abs=1.5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("options", [{}, {"background": 0.003}, {"background": 0.05}, {"warm_up": 8}], ids=str)
def test_none(seed: int, options: dict[str, Any]) -> None:
    """A lone slow request here and there is no spike, nor is a service that is slow all along or while it warms up."""
    incident = run(seed, fault=False, **options)
    assert find_spike(scrapes(incident)) is None
    assert largest(MemoryStore(incident.lines).rates("api", 500)) is None


def test_nothing_at_all() -> None:
    """No scrapes, or one, are no spike."""
    assert find_spike([]) is None
    assert find_spike(scrapes(run(1))[:1]) is None


@pytest.mark.parametrize("seed", range(5))
def test_lines_where_there_are_no_samples(seed: int) -> None:
    """The finished lines tell the same."""
    incident = run(seed)
    spike = largest(MemoryStore(incident.lines).rates("api", 500))
    assert spike is not None
    assert found(incident).start == pytest.approx(spike.start, abs=1.5)
    assert found(incident).slow == pytest.approx(spike.slow, abs=2)


def test_restart_is_no_loss() -> None:
    """What was counted after a restart is what is counted; nothing is negative."""
    whole, cut = (
        sum(line["value"] for line in run(3, restart=restart).lines if line.get("metric", "").endswith("_count"))
        for restart in (False, True)
    )
    assert cut < whole
    for which in quantiles(scrapes(run(3, restart=True)), Window(T0 + 70, T0 + 100)):
        assert which > 0


def test_quantiles() -> None:
    """They are interpolated as Prometheus does it: half of 100 requests up to 0.1 s, 99 of them up to 0.5 s."""
    buckets = {0.1: 50.0, 0.25: 80.0, 0.5: 99.0, math.inf: 100.0}
    assert quantile(0.5, buckets) == pytest.approx(0.1)
    assert quantile(0.65, buckets) == pytest.approx(0.175)
    assert quantile(0.99, buckets) == pytest.approx(0.5)
    assert quantile(0.999, buckets) == 0.5  # in the last bucket: nobody knows where
    assert math.isnan(quantile(0.5, {}))
    incident = run(1)
    p50, p99 = quantiles(scrapes(incident), Window(incident.start, incident.end))
    assert p50 < 0.1
    assert 1 < p99 <= 2.5
    assert math.isnan(quantiles(scrapes(incident), Window(T0 - 10, T0 - 5))[0])
