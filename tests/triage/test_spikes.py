"""Spikes are found in histograms and in finished requests; a few slow requests are not a spike."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.triage.conftest import StoreLines
from tests.triage.fake_service import T0
from tests.triage.incidents import Incident, run
from triage import histograms
from triage.histograms import quantile, quantiles
from triage.models import Scrape, Window
from triage.spikes import Spike, find_spike, largest

SEEDS = range(2)

ScrapesOf = Callable[[Incident], Sequence[Scrape]]


@pytest.fixture
def scrapes_of(store_lines: StoreLines) -> ScrapesOf:
    return lambda incident: store_lines(incident.lines).scrapes("api")


def find(scrapes: Sequence[Scrape]) -> Spike:
    spike = find_spike(scrapes)
    assert spike is not None
    return spike


def first_slow(incident: Incident) -> float:
    """Return when the first request arrived that was affected by the fault."""
    slow = [line for line in incident.lines if line.get("duration_ms", 0) > 500]
    arrived = [datetime.fromisoformat(line["timestamp"]).timestamp() - line["duration_ms"] / 1000 for line in slow]
    return float(min(time for time in arrived if time >= incident.start))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"replicas": 3}, {"restart": True}, {"warm_up": 3}],
    ids=str,
)
def test_time_of_a_spike(scrapes_of: ScrapesOf, seed: int, options: dict[str, Any]) -> None:
    """It starts within a scrape of the arrival of the first slow request, and ends with the last one."""
    incident = run(seed, **options)
    scrapes = scrapes_of(incident)
    spike = find(scrapes)
    assert first_slow(incident) == pytest.approx(spike.start, abs=1.1)
    assert incident.end == pytest.approx(spike.end, abs=8)
    assert set(spike.exemplars) <= {each for scrape in scrapes for histogram in scrape.series.values()
                                    for each in histogram.exemplars.values() if each.value > 0.5}  # fmt: skip
    assert len(spike.exemplars) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_unrelated_slow_requests(scrapes_of: ScrapesOf, seed: int) -> None:
    """An unrelated slow request just before or after a spike extends it only a little."""
    incident = run(seed, background=0.002)
    spike = find(scrapes_of(incident))
    assert incident.start == pytest.approx(spike.start, abs=20)
    assert incident.end == pytest.approx(spike.end, abs=12)


def test_without_exemplars(scrapes_of: ScrapesOf) -> None:
    """The start is then the scrape before the first slow request finished."""
    incident = run(1, exemplars=False)
    assert first_slow(incident) + 2 == pytest.approx(find(scrapes_of(incident)).start, abs=1.5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("options", [{}, {"background": 0.003}, {"background": 0.05}, {"warm_up": 8}], ids=str)
def test_no_spike(store_lines: StoreLines, seed: int, options: dict[str, Any]) -> None:
    """Single slow requests are not a spike, nor are slow requests throughout the run or during warm-up."""
    store = store_lines(run(seed, fault=False, **options).lines)
    assert find_spike(store.scrapes("api")) is None
    assert largest(store.rates("api", 500)) is None


def test_too_few_scrapes(scrapes_of: ScrapesOf) -> None:
    """Without two scrapes there is no spike."""
    assert find_spike([]) is None
    assert find_spike(scrapes_of(run(1))[:1]) is None


def test_spike_in_finished_requests(store_lines: StoreLines) -> None:
    """Finished requests show the same spike as histograms."""
    store = store_lines(run(1).lines)
    spike, expected = largest(store.rates("api", 500)), find(store.scrapes("api"))
    assert spike is not None
    assert expected.start == pytest.approx(spike.start, abs=1.5)
    assert expected.slow == pytest.approx(spike.slow, abs=2)


def test_counter_resets(scrapes_of: ScrapesOf) -> None:
    """Counters that restart from zero do not make an increase negative."""
    increases = histograms.increases(scrapes_of(run(3, restart=True)))
    assert [True] == [each.reset for each in increases if each.reset]
    assert all(count >= 0 for each in increases for count in histograms.total(each).values())


def test_quantiles(scrapes_of: ScrapesOf) -> None:
    """They are interpolated within buckets as in Prometheus, and NaN without observations."""
    buckets = {0.1: 50.0, 0.25: 80.0, 0.5: 99.0, math.inf: 100.0}
    assert quantile(0.5, buckets) == pytest.approx(0.1)
    assert quantile(0.65, buckets) == pytest.approx(0.175)
    assert quantile(0.99, buckets) == pytest.approx(0.5)
    assert quantile(0.999, buckets) == 0.5  # the last finite bound
    assert math.isnan(quantile(0.5, {}))
    incident = run(1)
    scrapes = scrapes_of(incident)
    p50, p99 = quantiles(scrapes, Window(incident.start, incident.end))
    assert p50 < 0.1
    assert 1 < p99 <= 2.5
    assert math.isnan(quantiles(scrapes, Window(T0 - 10, T0 - 5))[0])
