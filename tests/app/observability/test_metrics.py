"""Contract 3: what Prometheus reads."""

import re

import pytest
from prometheus_client import CollectorRegistry

from app.observability import BUCKETS, Observability, RequestFinished, metrics_page
from app.observability._identity import Identity

LONGEST = "a" * 64


def observe(registry: CollectorRegistry, trace_id: str, duration: float) -> None:
    identity = Identity(trace_id, "b7ad6b7169203331")
    event = RequestFinished(identity, "GET", "/", 200, duration, "ok", {})
    Observability("tested", registry=registry).metrics.finished(event)


@pytest.mark.parametrize(
    ("accept", "content_type", "exemplars"),
    [
        pytest.param(
            "application/openmetrics-text;version=1.0.0", "application/openmetrics-text", True, id="prometheus"
        ),
        pytest.param("*/*", "text/plain", False, id="curl"),
        pytest.param("", "text/plain", False, id="nothing"),
    ],
)
def test_the_format_is_what_was_asked_for(accept: str, content_type: str, exemplars: bool) -> None:  # noqa: FBT001
    """Exemplars exist in OpenMetrics only, and not every reader knows it."""
    registry = CollectorRegistry()
    observe(registry, "id", 0.1)
    page, kind = metrics_page(registry, accept)

    assert content_type == kind.split(";")[0]
    assert exemplars == (b"# {" in page)


def test_the_bounds_are_the_contract() -> None:
    """Rules and dashboards rely on them, on the objective of half a second most of all."""
    assert (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0) == BUCKETS


def test_the_longest_id_fits_an_exemplar() -> None:
    """OpenMetrics allows 128 characters; more would raise after the request was counted."""
    registry = CollectorRegistry()
    observe(registry, LONGEST, 0.1)
    page, _ = metrics_page(registry, "application/openmetrics-text")

    assert LONGEST in page.decode()


def test_the_slowest_requests_have_a_bucket() -> None:
    """What takes longer than every time-out still has its dot, at its true height."""
    registry = CollectorRegistry()
    observe(registry, "slow", 60.0)
    page, _ = metrics_page(registry, "application/openmetrics-text")

    (line,) = (line for line in page.decode().splitlines() if "slow" in line)
    assert 'le="+Inf"' in line
    assert " 60.0 " in line


def test_a_duration_is_in_the_bucket_of_its_bound() -> None:
    """A request that took exactly the objective has met it; the sum is exact, and a dot is the last of its bucket."""
    registry = CollectorRegistry()
    metrics = Observability("tested", registry=registry).metrics
    for number, duration in enumerate([0.5, 0.3, 0.7]):
        identity = Identity(f"id-{number}", "b7ad6b7169203331")
        metrics.finished(RequestFinished(identity, "GET", "/", 200, duration, "ok", {}))
    labels = {"method": "GET", "route": "/", "status": "200"}
    page, _ = metrics_page(registry, "application/openmetrics-text")

    name = "http_request_duration_seconds"
    assert [0, 2, 3] == [
        registry.get_sample_value(f"{name}_bucket", {**labels, "le": le}) for le in ("0.25", "0.5", "1.0")
    ]
    assert 1.5 == registry.get_sample_value(f"{name}_sum", labels)
    assert ["id-1", "id-2"] == re.findall(r'trace_id="([^"]*)"', page.decode())


def test_two_services_in_one_process_do_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no global registry: each has its own, or the one that it is given."""
    monkeypatch.setattr("prometheus_client.REGISTRY", None)
    first, second = Observability("first"), Observability("second")
    first.metrics.reject_id("because")

    assert 1 == first.registry.get_sample_value("request_ids_rejected_total", {"reason": "because"})
    assert second.registry.get_sample_value("request_ids_rejected_total", {"reason": "because"}) is None
